/* From int32 accumulators to int8 outputs, bit for bit as TensorFlow Lite and CMSIS-NN do it. */
#ifndef TESLA_REQUANTIZE_H
#define TESLA_REQUANTIZE_H

#include "tesla/layers.h"

#include <stdint.h>

/* Shifting a negative number right must keep its sign; C99 leaves that to the compiler. */
typedef char tesla_needs_arithmetic_shift_right[((int32_t)-1 >> 1) == -1 ? 1 : -1];

/* round(a * b / 2^31), ties towards plus infinity; not for a = b = INT32_MIN. */
static inline int32_t tesla_high_mul(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* round(value / 2^bits) for bits 0 .. 31, ties away from zero. */
static inline int32_t tesla_shift_right(int32_t value, int32_t bits) {
    const int32_t mask = (int32_t)(((uint32_t)1 << bits) - 1u);
    const int32_t remainder = value & mask;
    const int32_t threshold = (int32_t)((uint32_t)mask >> 1) + (value < 0 ? 1 : 0);
    return (value >> bits) + (remainder > threshold ? 1 : 0);
}

/* round(value * multiplier / 2^31 * 2^shift): first the doubling high product, then the shift.
 * Ranges: multiplier 0 .. 2^31 - 1; shift -31 .. 30; value << max(shift, 0) must fit int32. */
static inline int32_t tesla_requantize(int32_t value, int32_t multiplier, int8_t shift) {
    const int32_t left = shift > 0 ? (int32_t)(value * ((int32_t)1 << shift)) : value;
    const int32_t high = tesla_high_mul(left, multiplier);
    return shift >= 0 ? high : tesla_shift_right(high, -shift);
}

/* round(value * multiplier / 2^31 * 2^shift), rounded once, ties towards plus infinity. The
 * generator chooses multipliers with which no tie is met, so that it equals a rounding of the
 * product in float64, halves away from zero, as TensorFlow Lite does in fully connected layers.
 * Ranges: as tesla_requantize. */
static inline int32_t tesla_requantize_once(int32_t value, int32_t multiplier, int8_t shift) {
    if (shift >= 0) {
        const int64_t product = (int64_t)(value * ((int32_t)1 << shift)) * multiplier;
        return (int32_t)((product + ((int64_t)1 << 30)) >> 31);
    }
    const int32_t high = (int32_t)(((int64_t)value * multiplier) >> 31);
    return ((high >> (-shift - 1)) + 1) >> 1;
}

/* `value` within `low` .. `high`, which int8 holds. */
static inline int8_t tesla_clamp(int32_t value, int32_t low, int32_t high) {
    value = value < low ? low : value;
    value = value > high ? high : value;
    return (int8_t)value;
}

/* The output of channel `channel` for a finished accumulator of a convolution. */
static inline int8_t tesla_finish(const tesla_layer_region_t *region, uint32_t channel,
                                  int32_t accumulator) {
    const int32_t value =
        tesla_requantize(accumulator, region->multiplier[channel], region->shift[channel]);
    return tesla_clamp(value + region->output_offset, region->activation_min,
                       region->activation_max);
}

/* The outputs of channels `channel` .. `channel + 3` for finished accumulators. */
static inline void tesla_finish4(const tesla_layer_region_t *region, uint32_t channel,
                                 const int32_t sums[4], int8_t *output) {
#pragma GCC unroll 1
    for (uint32_t i = 0; i < 4u; ++i) {
        output[i] = tesla_finish(region, channel + i, sums[i]);
    }
}

/* The same for a fully connected layer. */
static inline int8_t tesla_finish_once(const tesla_layer_region_t *region, uint32_t channel,
                                       int32_t accumulator) {
    const int32_t value =
        tesla_requantize_once(accumulator, region->multiplier[channel], region->shift[channel]);
    return tesla_clamp(value + region->output_offset, region->activation_min,
                       region->activation_max);
}

#endif /* TESLA_REQUANTIZE_H */
