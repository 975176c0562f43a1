/* From one int8 quantisation to another, for whole rows of values. */
#ifndef TESLA_RESCALE_H
#define TESLA_RESCALE_H

#include "tesla/layers.h"
#include "tesla/requantize.h"
#include "tesla/string.h"

#include <stdbool.h>

/* Whether a change of quantisation changes nothing: a factor of 1, no offset, no clamp. */
static inline bool tesla_keeps(const tesla_rescale_region_t *region) {
    const bool one = region->multiplier == (int32_t)1 << 30 && region->shift == 1;
    const bool whole = region->activation_min == INT8_MIN && region->activation_max == INT8_MAX;
    return one && whole && region->input_offset + region->output_offset == 0;
}

/* The output for `value`, the input with its offset added, or the sum of such inputs. */
static inline int8_t tesla_rescaled(const tesla_rescale_region_t *region, int32_t value) {
    const int32_t scaled = tesla_requantize(value, region->multiplier, region->shift);
    return tesla_clamp(scaled + region->output_offset, region->activation_min,
                       region->activation_max);
}

/* Rescales region->size values; the two arrays must not overlap. */
static inline void tesla_rescale(const tesla_rescale_region_t *region, const int8_t *input,
                                 int8_t *output) {
    if (tesla_keeps(region)) {
        tesla_copy(output, input, region->size);
        return;
    }
    for (uint32_t i = 0; i < region->size; ++i) {
        output[i] = tesla_rescaled(region, input[i] + region->input_offset);
    }
}

#endif /* TESLA_RESCALE_H */
