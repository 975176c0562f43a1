/* A board whose line the harness is. Built with clang's libFuzzer, or with TESLA_FUZZ_LOOP into a
 * program that makes its own inputs. */
#include "fuzz.h"

#include "tesla_board.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t fuzz_counter_reads;

tesla_board_info_t tesla_board = {"fuzz", "native", 0, 1, {{"reads", 0}, {"", 0}}};

void tesla_board_init(void) {
}

int tesla_board_read_byte(void) {
    return -1;
}

bool tesla_board_idle(void) {
    return false;
}

void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    ticks[0] = fuzz_counter_reads++;
    ticks[1] = 0;
}

void tesla_board_stack(uint32_t *size, uint32_t *used) {
    *size = 0;
    *used = 0;
}

void fuzz_expect(bool condition, const char *what) {
    if (!condition) {
        (void)fprintf(stderr, "violated: %s\n", what);
        abort();
    }
}

#ifdef TESLA_FUZZ_LOOP
static uint32_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* fuzz COUNT SEED: that many inputs, the same ones for the same seed. */
int main(int argc, char **argv) {
    static uint8_t data[4096];
    const unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    uint64_t state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (unsigned long i = 0; i < count; i++) {
        const size_t size = draw(&state) % (i % 8 == 0 ? sizeof data : 200u) + 1u;
        const uint32_t calm = draw(&state) % 256u; /* how many bytes are small numbers */
        for (size_t k = 0; k < size; k++) {
            const uint32_t byte = draw(&state);
            data[k] = (uint8_t)(byte % 256u < calm ? (byte >> 8) % 12u : byte >> 8);
        }
        (void)LLVMFuzzerTestOneInput(data, size);
    }
    (void)printf("%lu inputs\n", count);
    return 0;
}
#endif
