#include "mlperf_buffer.h"

#include "mlperf_benchmark.h"
#include "mlperf_parse.h"
#include "mlperf_text.h"

static void load(tesla_mlperf_t *state, const char *word) {
    uint32_t count;
    const bool number = tesla_mlperf_parse_number(word, &count);
    if (!number || count == 0 || count > tesla_mlperf_raw_bytes()) {
        tesla_mlperf_put("e-[db load takes 1 to ");
        tesla_mlperf_put_number(tesla_mlperf_raw_bytes());
        tesla_mlperf_put(" bytes]\r\n");
        return;
    }
    state->expected = count;
    state->loaded = 0;
    tesla_mlperf_put("m-[Expecting ");
    tesla_mlperf_put_number(count);
    tesla_mlperf_put(" bytes]\r\n");
}

static void print(const tesla_mlperf_t *state) {
    tesla_mlperf_put("m-buffer-");
    for (uint32_t i = 0; i < state->loaded; i++) {
        if (i > 0) {
            tesla_mlperf_put("-");
        }
        tesla_mlperf_put_hex(tesla_mlperf_get_raw(i));
    }
    tesla_mlperf_put("\r\n");
}

/* A chunk of digits is taken as a whole or not at all. */
static void append(tesla_mlperf_t *state, const char *digits) {
    uint32_t count = 0;
    while (tesla_mlperf_parse_digit(digits[count]) >= 0) {
        count++;
    }
    if (count == 0 || count % 2u != 0 || digits[count] != '\0') {
        tesla_mlperf_put_error("db takes load, print or pairs of hexadecimal digits");
        return;
    }
    if (count / 2u > state->expected - state->loaded) {
        tesla_mlperf_put_error("More bytes than db load announced");
        return;
    }
    for (uint32_t i = 0; i < count; i += 2u) {
        const int high = tesla_mlperf_parse_digit(digits[i]);
        const int low = tesla_mlperf_parse_digit(digits[i + 1u]);
        tesla_mlperf_set_raw(state->loaded, (uint8_t)(high * 16 + low));
        state->loaded++;
    }
    if (state->loaded == state->expected) {
        tesla_mlperf_put("m-load-done\r\n");
    }
}

void tesla_mlperf_buffer(tesla_mlperf_t *state, char *rest) {
    const char *word = tesla_mlperf_next_word(&rest);
    if (tesla_mlperf_equal(word, "load")) {
        load(state, tesla_mlperf_next_word(&rest));
    } else if (tesla_mlperf_equal(word, "print")) {
        print(state);
    } else {
        append(state, word);
    }
}
