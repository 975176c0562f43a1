/* The benchmark's text protocol under arbitrary input.
 *
 * An input whose first byte is even reaches the firmware as it stands; otherwise each byte stands
 * for a word of the protocol, so that whole dialogues are found. */
#include "fuzz.h"
#include "mlperf_clock.h"
#include "mlperf_commands.h"
#include "tesla_app.h"
#include "tesla_board.h"

#include <stdio.h>
#include <string.h>

#define READY "m-ready\r\n"

static const char *const words[] = {
    "%",  "%",  " ",   "db ",   "load ", "print", "infer ",    "results", "dp ",  "profile",
    "0",  "1",  "2",   "7",     "9",     "25",    "50",        "100",     "640",  "name",
    "00", "ff", "7fc", "0000c", "1500",  "help",  "timestamp", "-",       "\r\n", "4294967296"};

static struct {
    char tail[sizeof READY - 1]; /* the last bytes */
    uint64_t size;
    bool printable;
} sent;

void tesla_board_write_byte(uint8_t byte) {
    memmove(sent.tail, sent.tail + 1, sizeof sent.tail - 1);
    sent.tail[sizeof sent.tail - 1] = (char)byte;
    sent.size++;
    sent.printable &= (byte >= 0x20 && byte < 0x7F) || byte == '\r' || byte == '\n';
}

static void start_answer(void) {
    sent.size = 0;
    sent.printable = true;
}

static void check_answer(void) {
    fuzz_expect(sent.printable, "an answer is text");
    fuzz_expect(memcmp(sent.tail, READY, sizeof sent.tail) == 0, "every answer ends with m-ready");
}

static void receive(tesla_mlperf_t *state, uint8_t byte) {
    start_answer();
    tesla_mlperf_receive(state, byte);
    if (byte == '%') {
        check_answer();
    } else {
        fuzz_expect(sent.size == 0, "only the end of a command is answered");
    }
    fuzz_expect(state->loaded <= state->expected, "no more is loaded than was announced");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tesla_mlperf_t state;
    memset(&state, 0, sizeof state);
    memset(tesla_app_input, 0, tesla_app_model.input_bytes);
    tesla_mlperf_clock_start();
    start_answer();
    tesla_mlperf_start(&state);
    check_answer();
    for (size_t i = 1; i < size; i++) {
        if (data[0] % 2 == 0) {
            receive(&state, data[i]);
            continue;
        }
        for (const char *at = words[data[i] % (sizeof words / sizeof *words)]; *at != '\0'; at++) {
            receive(&state, (uint8_t)*at);
        }
    }
    return 0;
}
