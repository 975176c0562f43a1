#include "mlperf_commands.h"

#include "mlperf_benchmark.h"
#include "mlperf_buffer.h"
#include "mlperf_clock.h"
#include "mlperf_parse.h"
#include "mlperf_text.h"
#include "tesla_app.h"
#include "tesla_board.h"

#include <stddef.h>

#define END_OF_COMMAND '%'
#define NAME_BYTES     8u /* of the model's digest, in the answer to `name` */

/* A line of a text and a number. */
static void put_count(const char *text, uint64_t value) {
    tesla_mlperf_put(text);
    tesla_mlperf_put_number(value);
    tesla_mlperf_put("\r\n");
}

static void put_lap(uint64_t microseconds) {
    put_count("m-lap-us-", microseconds);
}

static void name(tesla_mlperf_t *state, char *rest) {
    (void)state;
    (void)rest;
    tesla_mlperf_put("m-name-dut-[tesla-embed ");
    tesla_mlperf_put(tesla_board.name);
    tesla_mlperf_put(" ");
    for (uint8_t i = 0; i < NAME_BYTES; i++) {
        tesla_mlperf_put_hex(tesla_app_model.digest[i]);
    }
    tesla_mlperf_put("]\r\n");
}

static void profile(tesla_mlperf_t *state, char *rest) {
    (void)state;
    (void)rest;
    tesla_mlperf_put("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[");
    tesla_mlperf_put(tesla_mlperf_model);
    tesla_mlperf_put("]\r\n");
}

static void timestamp(tesla_mlperf_t *state, char *rest) {
    (void)state;
    (void)rest;
    put_lap(tesla_mlperf_clock_us());
}

static void results(tesla_mlperf_t *state, char *rest) {
    (void)rest;
    if (!state->computed) {
        tesla_mlperf_put_error("No results: infer first");
        return;
    }
    tesla_mlperf_put("m-results-[");
    tesla_mlperf_put_results(state->computed_by);
    tesla_mlperf_put("]\r\n");
}

static tesla_status_t run(tesla_mlperf_t *state, uint32_t count) {
    tesla_status_t status = TESLA_OK;
    for (; count > 0 && status == TESLA_OK; count--) {
        status = tesla_app_model.run(tesla_app_input, tesla_app_output);
        state->computed = status == TESLA_OK;
        state->computed_by = state->region;
    }
    return status;
}

static void infer_for(tesla_mlperf_t *state, uint32_t count, uint32_t warmup) {
    tesla_mlperf_prepare();
    put_count("m-warmup-start-", warmup);
    tesla_status_t status = run(state, warmup);
    if (status == TESLA_OK) {
        tesla_mlperf_put("m-warmup-done\r\n");
        put_count("m-infer-start-", count);
        /* Both laps are sent afterwards: the line's speed is no part of the time. */
        const uint64_t before = tesla_mlperf_clock_us();
        status = run(state, count);
        const uint64_t after = tesla_mlperf_clock_us();
        put_lap(before);
        put_lap(after);
    }
    if (status != TESLA_OK) {
        tesla_mlperf_put_error(tesla_status_name(status));
        return;
    }
    tesla_mlperf_put("m-infer-done\r\n");
    results(state, NULL);
}

static void infer(tesla_mlperf_t *state, char *rest) {
    const char *runs = tesla_mlperf_next_word(&rest);
    const char *rounds = tesla_mlperf_next_word(&rest);
    uint32_t count = 1;
    uint32_t warmup = 0;
    if ((*runs != '\0' && (!tesla_mlperf_parse_number(runs, &count) || count == 0)) ||
        (*rounds != '\0' && !tesla_mlperf_parse_number(rounds, &warmup))) {
        tesla_mlperf_put_error("infer takes the number of runs, at least 1, and of warm-ups");
    } else if (state->loaded != state->expected) {
        tesla_mlperf_put_error("The input is not complete");
    } else if (state->ready != TESLA_OK) {
        tesla_mlperf_put_error(tesla_status_name(state->ready));
    } else {
        infer_for(state, count, warmup);
    }
}

static void put_regions(const tesla_mlperf_t *state) {
    put_count("m-dp-", tesla_app_model.regions[state->region]);
    tesla_mlperf_put("m-dp-regions-[");
    for (uint8_t i = 0; i < tesla_app_model.region_count; i++) {
        if (i > 0) {
            tesla_mlperf_put(",");
        }
        tesla_mlperf_put_number(tesla_app_model.regions[i]);
    }
    tesla_mlperf_put("]\r\n");
}

static void dp(tesla_mlperf_t *state, char *rest) {
    const char *word = tesla_mlperf_next_word(&rest);
    uint32_t percent;
    if (*word == '\0') {
        put_regions(state);
        return;
    }
    if (!tesla_mlperf_parse_number(word, &percent) || percent > 100u ||
        tesla_app_model.set_dp((uint8_t)percent) != TESLA_OK) {
        tesla_mlperf_put("e-[No such operating region: ");
        tesla_mlperf_put_foreign(word);
        tesla_mlperf_put("]\r\n");
        return;
    }
    for (uint8_t i = 0; i < tesla_app_model.region_count; i++) {
        if (tesla_app_model.regions[i] == percent) {
            state->region = i;
        }
    }
    put_count("m-dp-", percent);
}

static void help(tesla_mlperf_t *state, char *rest) {
    (void)state;
    (void)rest;
    tesla_mlperf_put("m-[Commands, each ended by a percent sign:]\r\n"
                     "m-[help: this list]\r\n"
                     "m-[name: who answers]\r\n"
                     "m-[profile: the benchmark and its model]\r\n"
                     "m-[timestamp: microseconds since boot]\r\n"
                     "m-[db load N: announce N bytes of input]\r\n"
                     "m-[db XX..: the next of them, in hexadecimal digits]\r\n"
                     "m-[db print: the bytes that have come]\r\n"
                     "m-[infer N W: W warm-ups, then N timed runs]\r\n"
                     "m-[results: of the last run]\r\n"
                     "m-[dp P: select the operating region of P percent]\r\n");
}

typedef struct {
    const char *name;
    void (*execute)(tesla_mlperf_t *state, char *rest);
} command_t;

static const command_t commands[] = {
    {"help", help},
    {"name", name},
    {"profile", profile},
    {"timestamp", timestamp},
    {"db", tesla_mlperf_buffer},
    {"infer", infer},
    {"results", results},
    {"dp", dp},
};

static void execute(tesla_mlperf_t *state) {
    char *rest = state->command;
    const char *word = tesla_mlperf_next_word(&rest);
    for (uint32_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (tesla_mlperf_equal(word, commands[i].name)) {
            commands[i].execute(state, rest);
            return;
        }
    }
    tesla_mlperf_put("e-[Unknown command: ");
    tesla_mlperf_put_foreign(word);
    tesla_mlperf_put("]\r\n");
}

void tesla_mlperf_receive(tesla_mlperf_t *state, uint8_t byte) {
    if (byte == '\r' || byte == '\n') {
        return; /* what a terminal adds */
    }
    if (byte != END_OF_COMMAND) {
        if (state->size < TESLA_MLPERF_COMMAND_MAX) {
            state->command[state->size] = byte == 0 ? '?' : (char)byte; /* a 0 would end it */
            state->size++;
        } else {
            state->too_long = true;
        }
        return;
    }
    state->command[state->size] = '\0';
    if (state->too_long) {
        tesla_mlperf_put_error("Command too long");
    } else {
        execute(state);
    }
    tesla_mlperf_put("m-ready\r\n");
    state->size = 0;
    state->too_long = false;
}

void tesla_mlperf_start(tesla_mlperf_t *state) {
    state->ready = tesla_mlperf_fits() ? tesla_app_model.init() : TESLA_ERROR_STATE;
    state->region = (uint8_t)(tesla_app_model.region_count - 1u);
    tesla_mlperf_put("m-timestamp-mode-performance\r\n");
    timestamp(state, NULL);
    if (state->ready != TESLA_OK) {
        tesla_mlperf_put_error(tesla_status_name(state->ready));
    }
    tesla_mlperf_put("m-init-done\r\nm-ready\r\n");
}
