#include "measure.h"

#include <stddef.h>

#define CALIBRATION_ROUNDS 16

static uint32_t elapsed(uint64_t start, uint64_t now, uint32_t overhead) {
    const uint64_t ticks = now - start;
    if (ticks <= overhead) {
        return 0;
    }
    return ticks - overhead > UINT32_MAX ? UINT32_MAX : (uint32_t)(ticks - overhead);
}

void tesla_measure_begin(tesla_measure_t *measure) {
    tesla_board_read_counters(measure->start);
}

void tesla_measure_end(const tesla_measure_t *measure, uint32_t ticks[TESLA_MAX_COUNTERS]) {
    uint64_t now[TESLA_MAX_COUNTERS];
    tesla_board_read_counters(now);
    for (uint8_t i = 0; i < tesla_board.counter_count; i++) {
        ticks[i] = elapsed(measure->start[i], now[i], measure->overhead[i]);
    }
}

static void set_all(uint32_t overhead[TESLA_MAX_COUNTERS], uint32_t value) {
    for (uint8_t i = 0; i < TESLA_MAX_COUNTERS; i++) {
        overhead[i] = value;
    }
}

static void keep_least(uint32_t best[TESLA_MAX_COUNTERS], const uint32_t *ticks) {
    for (uint8_t i = 0; i < tesla_board.counter_count; i++) {
        if (ticks[i] < best[i]) {
            best[i] = ticks[i];
        }
    }
}

void tesla_measure_calibrate(tesla_measure_t *measure) {
    uint32_t best[TESLA_MAX_COUNTERS];
    set_all(best, UINT32_MAX);
    set_all(measure->overhead, 0);
    for (uint8_t round = 0; round < CALIBRATION_ROUNDS; round++) {
        uint32_t ticks[TESLA_MAX_COUNTERS];
        tesla_measure_begin(measure);
        tesla_measure_end(measure, ticks);
        keep_least(best, ticks);
    }
    for (uint8_t i = 0; i < tesla_board.counter_count; i++) {
        measure->overhead[i] = best[i];
    }
}

void tesla_measure_layers_begin(tesla_measure_layers_t *layers) {
    tesla_board_read_counters(layers->last);
}

void tesla_measure_layer(void *user, uint16_t layer, const int8_t *output, uint32_t size) {
    tesla_measure_layers_t *layers = user;
    uint64_t now[TESLA_MAX_COUNTERS];
    (void)output;
    (void)size;
    tesla_board_read_counters(now);
    if (layer < layers->layer_count) {
        uint32_t *ticks = layers->ticks + (uint32_t)layer * tesla_board.counter_count;
        for (uint8_t i = 0; i < tesla_board.counter_count; i++) {
            ticks[i] = elapsed(layers->last[i], now[i], layers->overhead[i]);
        }
    }
    tesla_board_read_counters(layers->last);
}

void tesla_measure_layers_calibrate(tesla_measure_layers_t *layers) {
    /* Called through a pointer that the compiler cannot see through, as the model does. */
    static const volatile tesla_layer_callback_t callback = tesla_measure_layer;
    uint32_t best[TESLA_MAX_COUNTERS];
    set_all(best, UINT32_MAX);
    set_all(layers->overhead, 0);
    tesla_measure_layers_begin(layers);
    for (uint8_t round = 0; round < CALIBRATION_ROUNDS; round++) {
        callback(layers, 0, NULL, 0);
        if (round > 0) {
            keep_least(best, layers->ticks);
        }
    }
    for (uint8_t i = 0; i < tesla_board.counter_count; i++) {
        layers->overhead[i] = best[i];
    }
    for (uint32_t i = 0; i < (uint32_t)layers->layer_count * TESLA_MAX_COUNTERS; i++) {
        layers->ticks[i] = 0;
    }
}
