/* The inner loops of tesla/dot.h over weights of four bits, see tesla/nibbles.h. */
#ifndef TESLA_DOT_NIBBLES_H
#define TESLA_DOT_NIBBLES_H

#include "tesla/compiler.h"
#include "tesla/nibbles.h"

#include <stdint.h>

/* Adds sum((input[i] + offset) * weight[r][i]) over i < count to sums[r], r = 0 .. 3: the channels
 * of two rows that begin at `weights` and `stride` bytes after it. */
static TESLA_NOINLINE void tesla_nibbles_dot4(int32_t sums[4], const int8_t *input,
                                              const int8_t *weights, uint32_t stride,
                                              uint32_t count, int32_t offset) {
    const int8_t *weights1 = weights + stride;
    int32_t sum0 = sums[0];
    int32_t sum1 = sums[1];
    int32_t sum2 = sums[2];
    int32_t sum3 = sums[3];
    const int8_t *const end = input + count;
#pragma GCC unroll 1
    while (input != end) {
        const int32_t value = *input++ + offset;
        const int32_t pair0 = *weights++;
        const int32_t pair1 = *weights1++;
        sum0 += value * tesla_nibbles_even(pair0);
        sum1 += value * tesla_nibbles_odd(pair0);
        sum2 += value * tesla_nibbles_even(pair1);
        sum3 += value * tesla_nibbles_odd(pair1);
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

/* The same for the two channels of one row. */
static inline void tesla_nibbles_dot2(int32_t sums[2], const int8_t *input, const int8_t *weights,
                                      uint32_t count, int32_t offset) {
    for (uint32_t i = 0; i < count; ++i) {
        const int32_t value = input[i] + offset;
        sums[0] += value * tesla_nibbles_even(weights[i]);
        sums[1] += value * tesla_nibbles_odd(weights[i]);
    }
}

#endif /* TESLA_DOT_NIBBLES_H */
