/* Three taps side by side of two pixels of an image, widened together. */
#ifndef TESLA_COLUMNS_H
#define TESLA_COLUMNS_H

#include "tesla/widen.h"

#include <stdint.h>

#if TESLA_DSP
/* The quad of one column of both pixels, AT bytes on. */
#define TESLA_COLUMN(NEXT, AT)                                                                     \
    "ldr     %0, [%5" NEXT "            \n"                                                        \
    "ldr     %1, [%6" NEXT "            \n"                                                        \
    "sxtab16 %2, %9, %0                 \n"                                                        \
    "sxtab16 %3, %9, %1                 \n"                                                        \
    "strd    %2, %3, [%4, #" AT "]      \n"                                                        \
    "sxtab16 %2, %9, %0, ror #8         \n"                                                        \
    "sxtab16 %3, %9, %1, ror #8         \n"                                                        \
    "strd    %2, %3, [%4, #" AT " + 8]  \n"
#endif

/* Quads of channels of two pixels under a row of three taps, at least one. */
static TESLA_INLINE void tesla_three_columns(int16_t *wide, const int8_t *a, const int8_t *b,
                                             uint32_t next, uint32_t quads, uint32_t pitch,
                                             uint32_t offset) {
    uint32_t first = 0;
    uint32_t second = 0;
#if TESLA_DSP
    uint32_t even;
    uint32_t odd;
    __asm__ volatile("1: \n" TESLA_COLUMN(", %8, lsl #1]", "32") TESLA_COLUMN(", %8]", "16")
                         TESLA_COLUMN("], #4", "0") "add     %4, %4, %10   \n"
                                                    "subs    %7, %7, #1    \n"
                                                    "bne     1b            \n"
                     : "=&r"(first), "=&r"(second), "=&r"(even), "=&r"(odd), "+&r"(wide), "+&r"(a),
                       "+&r"(b), "+&r"(quads)
                     : "r"(next), "r"(offset), "r"(pitch * (uint32_t)sizeof *wide)
                     : "cc", "memory");
#else
    for (; quads != 0u; --quads) {
        for (uint32_t x = 0; x < 3u; ++x) {
            tesla_copy(&first, &a[x * next], 4);
            tesla_copy(&second, &b[x * next], 4);
            tesla_widen_word_two(wide + 8u * x, first, second, offset);
        }
        a += 4;
        b += 4;
        wide += pitch;
    }
#endif
}

#endif /* TESLA_COLUMNS_H */
