/* The firmware as a native process: the link over stdin and stdout, time in nanoseconds. */
#define _POSIX_C_SOURCE 200809L

#include "batch.h"
#include "tesla_board.h"
#include "tesla_target.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    uint8_t bytes[4096];
    size_t position;
    size_t size;
} received;

tesla_board_info_t tesla_board = {
    TESLA_TARGET_NAME, TESLA_TARGET_CPU, 0, 1, {{"ns", 1000000000u}, {"", 0}}};

void tesla_board_init(void) {
}

int tesla_board_read_byte(void) {
    return received.position < received.size ? received.bytes[received.position++] : -1;
}

void tesla_board_write_byte(uint8_t byte) {
    (void)putchar(byte);
}

/* Everything that arrived is handled: let the replies out and wait for more. */
bool tesla_board_idle(void) {
    if (fflush(stdout) != 0) {
        return false;
    }
    const ssize_t size = read(STDIN_FILENO, received.bytes, sizeof received.bytes);
    received.position = 0;
    received.size = size > 0 ? (size_t)size : 0;
    return size > 0;
}

void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    ticks[0] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    ticks[1] = 0;
}

void tesla_board_stack(uint32_t *size, uint32_t *used) {
    *size = 0;
    *used = 0;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        if (strcmp(argv[1], "batch") == 0) {
            return tesla_batch(argc, argv);
        }
        (void)fprintf(stderr, "usage: %s [batch DP COUNT [--layers]]\n", argv[0]);
        return 2;
    }
    tesla_app_main();
    return 0;
}
