/* The commands of the benchmark's text protocol (docs/mlperf-tiny.md). */
#ifndef TESLA_MLPERF_COMMANDS_H
#define TESLA_MLPERF_COMMANDS_H

#include "tesla/status.h"

#include <stdbool.h>
#include <stdint.h>

/* The longest command, without the '%' that ends it. */
#define TESLA_MLPERF_COMMAND_MAX 255u

typedef struct {
    char command[TESLA_MLPERF_COMMAND_MAX + 1u]; /* what has come of it, later with a 0 behind */
    uint16_t size;
    bool too_long;        /* skip to the next '%' */
    tesla_status_t ready; /* of the model's init */
    uint8_t region;       /* index of the selected region */
    uint8_t computed_by;  /* index of the region that computed the last output */
    bool computed;        /* there is an output */
    uint32_t expected;    /* bytes that `db load` announced */
    uint32_t loaded;      /* bytes of them that have come */
} tesla_mlperf_t;

/* Starts the model and announces it. `state` starts out zeroed. */
void tesla_mlperf_start(tesla_mlperf_t *state);

/* Takes one received byte; the '%' that ends a command executes it and sends the whole answer. */
void tesla_mlperf_receive(tesla_mlperf_t *state, uint8_t byte);

#endif /* TESLA_MLPERF_COMMANDS_H */
