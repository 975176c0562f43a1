/* The SIMD instructions of Cortex-M4, M7 and M33 by name, each beside its meaning in C.
 *
 * TESLA_DSP says whether they exist. Everything that uses them also compiles where they do not, and
 * computes the same bits there. */
#ifndef TESLA_DSP_H
#define TESLA_DSP_H

#include "tesla/compiler.h"
#include "tesla/packed.h"

#include <stdint.h>

#if defined(__GNUC__) && defined(__thumb2__) && defined(__ARM_FEATURE_DSP) &&                      \
    !defined(__ARM_BIG_ENDIAN)
#define TESLA_DSP 1
#else
#define TESLA_DSP 0
#endif

/* The upper word of a 64-bit product (SMMUL). */
static TESLA_INLINE int32_t tesla_high_word(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b) >> 32);
}

/* value + ((value * multiplier + 2^31) >> 32) (SMMLAR). */
static TESLA_INLINE int32_t tesla_high_word_added(int32_t value, int32_t multiplier) {
#if TESLA_DSP
    int32_t result;
    __asm__("smmlar %0, %1, %2, %1" : "=r"(result) : "r"(value), "r"(multiplier));
    return result;
#else
    return value + (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << 31)) >> 32);
#endif
}

/* `value` saturated to int8 (SSAT). */
static TESLA_INLINE int32_t tesla_saturated(int32_t value) {
#if TESLA_DSP
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(value));
    return result;
#else
    return value < INT8_MIN ? INT8_MIN : value > INT8_MAX ? INT8_MAX : value;
#endif
}

#endif /* TESLA_DSP_H */
