/* Ticks of a stretch of code, without the cost of reading the counters. */
#ifndef TESLA_MEASURE_H
#define TESLA_MEASURE_H

#include "tesla_board.h"

#include <stdint.h>

typedef struct {
    uint64_t start[TESLA_MAX_COUNTERS];
    uint32_t overhead[TESLA_MAX_COUNTERS]; /* between begin and end, with nothing in between */
} tesla_measure_t;

/* Finds the overhead: the least of several empty measurements. Call once at boot. */
void tesla_measure_calibrate(tesla_measure_t *measure);

void tesla_measure_begin(tesla_measure_t *measure);

/* Writes ticks[0 .. counter_count - 1] since begin; a count beyond 32 bits becomes UINT32_MAX. */
void tesla_measure_end(const tesla_measure_t *measure, uint32_t ticks[TESLA_MAX_COUNTERS]);

/* Measures layers: install tesla_measure_layer as the model's callback with this as `user`. */
typedef struct {
    uint64_t last[TESLA_MAX_COUNTERS];
    uint32_t overhead[TESLA_MAX_COUNTERS]; /* between two callbacks, with nothing in between */
    uint32_t *ticks;                       /* [layer_count * TESLA_MAX_COUNTERS], caller-owned */
    uint16_t layer_count;                  /* at least 1 */
} tesla_measure_layers_t;

/* Finds the overhead of the callback, as tesla_measure_calibrate; zeroes `ticks`. */
void tesla_measure_layers_calibrate(tesla_measure_layers_t *layers);

/* To be called immediately before the run. */
void tesla_measure_layers_begin(tesla_measure_layers_t *layers);

/* A tesla_layer_callback_t. Layer i's ticks go to ticks[i * counter_count ...]. */
void tesla_measure_layer(void *user, uint16_t layer, const int8_t *output, uint32_t size);

#endif /* TESLA_MEASURE_H */
