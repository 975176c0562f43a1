/* Sums of four neighbouring channels over pixels, for the DSP instructions. */
#ifndef TESLA_FOUR_SUMS_H
#define TESLA_FOUR_SUMS_H

#include "tesla/widen.h"

#include <stdint.h>

/* Adds `count` pixels, `pitch` bytes apart, to the sums of the four channels of `from`. */
static inline void tesla_four_sums(int32_t sums[4], const int8_t *from, uint32_t pitch,
                                   uint32_t count) {
    while (count != 0u) {
        uint32_t left = count < 255u ? count : 255u; /* pixels whose sums fit 16 bits */
        uint32_t even = 0;
        uint32_t odd = 0;
        uint32_t word = 0;
        count -= left;
#pragma GCC unroll 4
        for (; left != 0u; --left) {
            tesla_copy(&word, from, 4);
            even = tesla_widened_even(word, even);
            odd = tesla_widened_odd(word, odd);
            from += pitch;
        }
        sums[0] += (int16_t)(uint16_t)even;
        sums[1] += (int16_t)(uint16_t)odd;
        sums[2] += (int32_t)even >> 16;
        sums[3] += (int32_t)odd >> 16;
    }
}

#endif /* TESLA_FOUR_SUMS_H */
