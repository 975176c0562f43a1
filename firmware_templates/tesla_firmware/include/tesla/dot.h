/* The inner loop that fully connected layers and convolutions share. */
#ifndef TESLA_DOT_H
#define TESLA_DOT_H

#include "tesla/compiler.h"

#include <stdint.h>

/* Adds sum((input[i] + offset) * weights[r * stride + i]) over i < count to sums[r], r = 0 .. 3.
 *
 * Four outputs share every input that is loaded. */
#if defined(__SSE2__) || defined(__ARM_NEON)
/* For processors with vector units: halfwords are multiplied and added in pairs. */
static inline void tesla_dot4(int32_t sums[4], const int8_t *input, const int8_t *weights,
                              uint32_t stride, uint32_t count, int32_t offset) {
    const int8_t *const weights1 = weights + stride;
    const int8_t *const weights2 = weights1 + stride;
    const int8_t *const weights3 = weights2 + stride;
    int32_t sum0 = sums[0];
    int32_t sum1 = sums[1];
    int32_t sum2 = sums[2];
    int32_t sum3 = sums[3];
    for (uint32_t i = 0; i < count; ++i) {
        const int16_t value = (int16_t)(input[i] + offset);
        sum0 += value * (int16_t)weights[i];
        sum1 += value * (int16_t)weights1[i];
        sum2 += value * (int16_t)weights2[i];
        sum3 += value * (int16_t)weights3[i];
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#else
/* A function of its own, and not unrolled: all its values then fit the registers of a Cortex-M,
 * while inlined into a kernel it spills. */
static TESLA_NOINLINE void tesla_dot4(int32_t sums[4], const int8_t *input, const int8_t *weights,
                                      uint32_t stride, uint32_t count, int32_t offset) {
    const int8_t *weights1 = weights + stride;
    const int8_t *weights2 = weights1 + stride;
    const int8_t *weights3 = weights2 + stride;
    int32_t sum0 = sums[0];
    int32_t sum1 = sums[1];
    int32_t sum2 = sums[2];
    int32_t sum3 = sums[3];
    const int8_t *const end = input + count;
#pragma GCC unroll 1
    while (input != end) {
        const int32_t value = *input++ + offset;
        sum0 += value * *weights++;
        sum1 += value * *weights1++;
        sum2 += value * *weights2++;
        sum3 += value * *weights3++;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#endif

/* The same for a single output; returns the sum. */
static inline int32_t tesla_dot1(int32_t sum, const int8_t *input, const int8_t *weights,
                                 uint32_t count, int32_t offset) {
    for (uint32_t i = 0; i < count; ++i) {
        sum += (input[i] + offset) * weights[i];
    }
    return sum;
}

#endif /* TESLA_DOT_H */
