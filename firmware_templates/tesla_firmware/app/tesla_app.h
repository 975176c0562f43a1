/* What the firmware application needs to know about the one model that it serves.
 *
 * The generated firmware/app_model.c defines everything declared `extern` here; the application,
 * the link and the boards are the same for every model. */
#ifndef TESLA_APP_H
#define TESLA_APP_H

#include "tesla/callback.h"
#include "tesla/status.h"

#include <stdint.h>

/* The most counters (instructions, cycles, nanoseconds ...) that any board reads. */
#define TESLA_MAX_COUNTERS 2

/* Quantisation of a region's input and output: real = scale * (integer - zero_point). */
typedef struct {
    float input_scale;
    int32_t input_zero_point;
    float output_scale;
    int32_t output_zero_point;
} tesla_app_io_t;

typedef struct {
    const char *name;         /* of the model; the link cuts it to 48 bytes */
    const uint8_t *digest;    /* [32], SHA-256 of the quantised model file */
    const uint8_t *regions;   /* [region_count], DP percentages 1 .. 100, ascending */
    uint8_t region_count;     /* at least 1 */
    const tesla_app_io_t *io; /* [region_count] */
    uint16_t layer_count;     /* at least 1; the number of callback calls per run */
    uint32_t input_bytes;  /* of one input: the size of tesla_app_input, the same in all regions */
    uint32_t output_bytes; /* of one output: the size of tesla_app_output, the same in all */
    uint32_t arena_bytes;  /* working memory, for the report */

    /* Called once at boot, before everything else; selects the last (largest) region. */
    tesla_status_t (*init)(void);
    /* Selects a region, effective at the next run; TESLA_ERROR_REGION leaves the old one. */
    tesla_status_t (*set_dp)(uint8_t percent);
    /* One inference. Must leave `input` as it is. */
    tesla_status_t (*run)(const int8_t *input, int8_t *output);
    /* Installs the layer callback of the next runs; NULL removes it. */
    void (*set_callback)(tesla_layer_callback_t callback, void *user);
} tesla_app_model_t;

extern const tesla_app_model_t tesla_app_model;

/* Static buffers, aligned as the model wants them. */
extern int8_t tesla_app_input[];         /* [input_bytes] */
extern int8_t tesla_app_output[];        /* [output_bytes] */
extern uint32_t tesla_app_layer_ticks[]; /* [layer_count * TESLA_MAX_COUNTERS], the link's own */

/* Starts the model and answers the serial link. Returns only where board_idle() says that the
 * other end has gone, which on a microcontroller is never. Called by the board's start-up code. */
void tesla_app_main(void);

#endif /* TESLA_APP_H */
