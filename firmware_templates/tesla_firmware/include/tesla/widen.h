/* Inputs as SMLAD wants them: int16, the offset added, the four of a quad in the order 0, 2, 1, 3.
 */
#ifndef TESLA_WIDEN_H
#define TESLA_WIDEN_H

#include "tesla/dsp.h"
#include "tesla/string.h"

#include <stdint.h>

/* The inputs 0 and 2 of the four bytes of `word`, the first in the lowest, as halves of a word.
 * To each its half of `offset` is added. */
static TESLA_INLINE uint32_t tesla_widened_even(uint32_t word, uint32_t offset) {
#if TESLA_DSP
    uint32_t even;
    __asm__("sxtab16 %0, %1, %2" : "=r"(even) : "r"(offset), "r"(word));
    return even;
#else
    const uint16_t low = (uint16_t)((int8_t)(uint8_t)word + (int16_t)(uint16_t)offset);
    const uint16_t high =
        (uint16_t)((int8_t)(uint8_t)(word >> 16) + (int16_t)(uint16_t)(offset >> 16));
    return low | (uint32_t)high << 16;
#endif
}

/* The same for the inputs 1 and 3. */
static TESLA_INLINE uint32_t tesla_widened_odd(uint32_t word, uint32_t offset) {
#if TESLA_DSP
    uint32_t odd;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(odd) : "r"(offset), "r"(word));
    return odd;
#else
    return tesla_widened_even(word >> 8, offset);
#endif
}

/* The lower halves of two words, `a` in the lower one (PKHBT); then the upper halves (PKHTB). */
static TESLA_INLINE uint32_t tesla_lower_halves(uint32_t a, uint32_t b) {
#if TESLA_DSP
    uint32_t halves;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(halves) : "r"(a), "r"(b));
    return halves;
#else
    return (a & 0xFFFFu) | b << 16;
#endif
}

static TESLA_INLINE uint32_t tesla_upper_halves(uint32_t a, uint32_t b) {
#if TESLA_DSP
    uint32_t halves;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(halves) : "r"(b), "r"(a));
    return halves;
#else
    return a >> 16 | (b & 0xFFFF0000u);
#endif
}

/* `offset` in both halves of a word. */
static TESLA_INLINE uint32_t tesla_twice(int16_t offset) {
    return (uint16_t)offset * 0x10001u;
}

#if defined(__GNUC__)
/* A word of memory that holds inputs; accesses side by side may become one instruction. */
typedef uint32_t __attribute__((may_alias)) tesla_word_t;
#endif

/* Stores two inputs, at a multiple of 4 bytes. */
static TESLA_INLINE void tesla_put(int16_t *wide, uint32_t word) {
#if defined(__GNUC__)
    *(tesla_word_t *)(void *)wide = word;
#else
    tesla_copy(wide, &word, 4);
#endif
}

/* Loads two inputs, from a multiple of 4 bytes. */
static TESLA_INLINE uint32_t tesla_get(const int16_t *wide) {
#if defined(__GNUC__)
    return *(const tesla_word_t *)(const void *)wide;
#else
    uint32_t word;
    tesla_copy(&word, wide, 4);
    return word;
#endif
}

/* Sets `words` words at a multiple of 4 bytes to zero; the compiler's own may do so byte by byte.
 */
static TESLA_INLINE void tesla_clear(int16_t *wide, uint32_t words) {
#if TESLA_DSP
    for (; words >= 2u; words -= 2u) {
        __asm__ volatile("strd %1, %1, [%0], #8" : "+&r"(wide) : "r"(0) : "memory");
    }
#endif
    for (; words != 0u; --words) {
        tesla_put(wide, 0);
        wide += 2;
    }
}

/* Four inputs, of which the first `count`, 0 .. 3, exist and the others are zero. */
static TESLA_NOINLINE TESLA_UNUSED uint32_t tesla_some(const int8_t *input, uint32_t count,
                                                       int8_t zero) {
    const uint32_t zeros = (uint8_t)zero * 0x01010101u;
    uint16_t two = 0;
    if (count == 0u) {
        return zeros;
    }
    if (count == 1u) {
        return (zeros & ~0xFFu) | (uint8_t)input[0];
    }
    tesla_copy(&two, input, 2);
    if (count == 2u) {
        return (zeros & ~0xFFFFu) | two;
    }
    return (zeros & ~0xFFFFFFu) | (uint32_t)(uint8_t)input[2] << 16 | two;
}

/* Widens a quad of inputs of two pixels, word by word in turn as tesla/pair.h wants them. */
static TESLA_INLINE void tesla_widen_word_two(int16_t *wide, uint32_t a, uint32_t b,
                                              uint32_t offset) {
#if TESLA_DSP
    uint32_t first;
    uint32_t second;
    /* volatile: it stores, and nobody needs its results */
    __asm__ volatile("sxtab16 %0, %4, %2         \n"
                     "sxtab16 %1, %4, %3         \n"
                     "strd    %0, %1, [%5]       \n"
                     "sxtab16 %0, %4, %2, ror #8 \n"
                     "sxtab16 %1, %4, %3, ror #8 \n"
                     "strd    %0, %1, [%5, #8]   \n"
                     : "=&r"(first), "=&r"(second)
                     : "r"(a), "r"(b), "r"(offset), "r"(wide)
                     : "memory");
#else
    tesla_put(wide, tesla_widened_even(a, offset));
    tesla_put(&wide[2], tesla_widened_even(b, offset));
    tesla_put(&wide[4], tesla_widened_odd(a, offset));
    tesla_put(&wide[6], tesla_widened_odd(b, offset));
#endif
}

/* Widens `quads` quads of two pixels; from one quad to the next are `pitch` elements. */
static TESLA_INLINE void tesla_widen_quads_two(int16_t *wide, const int8_t *first,
                                               const int8_t *second, uint32_t quads, uint32_t both,
                                               uint32_t pitch) {
    uint32_t a = 0;
    uint32_t b = 0;
    for (; quads != 0u; --quads) {
        tesla_copy(&a, first, 4);
        tesla_copy(&b, second, 4);
        tesla_widen_word_two(wide, a, b, both);
        first += 4;
        second += 4;
        wide += pitch;
    }
}

/* Widens `count` inputs of two pixels in the same way. The last quad is filled up with zeros. */
static inline void tesla_widen_two(int16_t *wide, const int8_t *first, const int8_t *second,
                                   uint32_t count, int16_t offset, uint32_t pitch) {
    const uint32_t both = tesla_twice(offset);
    const uint32_t quads = count / 4u;
    tesla_widen_quads_two(wide, first, second, quads, both, pitch);
    if (count % 4u != 0u) {
        const uint32_t a = tesla_some(first + quads * 4u, count % 4u, (int8_t)-offset);
        const uint32_t b = tesla_some(second + quads * 4u, count % 4u, (int8_t)-offset);
        tesla_widen_word_two(wide + quads * pitch, a, b, both);
    }
}

/* Widens `count` inputs and fills the last quad up with zeros. */
static inline void tesla_widen(int16_t *wide, const int8_t *input, uint32_t count, int16_t offset) {
    const uint32_t both = tesla_twice(offset);
    uint32_t word = 0;
    for (uint32_t quad = count / 4u; quad != 0u; --quad) {
        tesla_copy(&word, input, 4);
        tesla_put(wide, tesla_widened_even(word, both));
        tesla_put(&wide[2], tesla_widened_odd(word, both));
        input += 4;
        wide += 4;
    }
    if (count % 4u != 0u) {
        word = tesla_some(input, count % 4u, (int8_t)-offset);
        tesla_put(wide, tesla_widened_even(word, both));
        tesla_put(&wide[2], tesla_widened_odd(word, both));
    }
}

#endif /* TESLA_WIDEN_H */
