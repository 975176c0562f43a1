/* Addition, int8, for the DSP instructions: four elements at a time, three of the four products of
 * two rescalings saved. */
#include "tesla/clamp.h"
#include "tesla/kernels.h"
#include "tesla/widen.h"

/* Both inputs of an element, offsets added: the one of the larger scale, and the other one. */
static inline int32_t sum_of(const tesla_add_scaled_t *region, int32_t larger, int32_t smaller) {
    const int32_t half = (int32_t)((uint32_t)larger << 19);
    if (region->shift == 0) { /* the same scale */
        return half + (int32_t)((uint32_t)smaller << 19);
    }
    int32_t value = (int32_t)((uint32_t)smaller << 20);
    value = tesla_high_word_added(value, region->multiplier);
    value += value >> 31; /* halves away from zero */
    return half + ((value + region->rounding) >> region->shift);
}

static inline int8_t output_of(const tesla_add_scaled_t *region, int32_t sum) {
    int32_t value = tesla_high_word_added(sum, region->output_multiplier);
    value += value >> 31;
    return (int8_t)tesla_saturated((value + region->output_rounding) >> region->output_shift);
}

/* Two elements in the halves of words, to output[0] and output[2]. */
static inline void two_elements(const tesla_add_scaled_t *region, uint32_t larger, uint32_t smaller,
                                int8_t *output) {
    /* The lower halves need no sign extension: what is shifted out of 32 bits is the upper half. */
    output[0] = output_of(region, sum_of(region, (int32_t)larger, (int32_t)smaller));
    output[2] = output_of(region, sum_of(region, (int32_t)larger >> 16, (int32_t)smaller >> 16));
}

void tesla_add_dsp(const tesla_add_scaled_t *row, const int8_t *first, const int8_t *second,
                   int8_t *output) {
    const tesla_add_scaled_t region = *row;
    const int8_t *larger = region.swapped != 0u ? second : first;
    const int8_t *smaller = region.swapped != 0u ? first : second;
    const uint32_t offset = tesla_twice(region.larger_offset);
    const uint32_t other = tesla_twice(region.smaller_offset);
    int8_t *const start = output;
    for (uint32_t count = region.size / 4u; count != 0u; --count) {
        uint32_t a = 0;
        uint32_t b = 0;
        tesla_copy(&a, larger, 4);
        tesla_copy(&b, smaller, 4);
        two_elements(&region, tesla_widened_even(a, offset), tesla_widened_even(b, other), output);
        two_elements(&region, tesla_widened_odd(a, offset), tesla_widened_odd(b, other),
                     &output[1]);
        larger += 4;
        smaller += 4;
        output += 4;
    }
#pragma GCC unroll 1
    for (uint32_t count = region.size % 4u; count != 0u; --count) {
        const int32_t a = *larger++ + region.larger_offset;
        const int32_t b = *smaller++ + region.smaller_offset;
        *output++ = output_of(&region, sum_of(&region, a, b));
    }
    tesla_clamp_outputs(region.activation_min, region.activation_max, start, region.size);
}
