/* What functions on two pixels share: how a block of four channels begins and ends.
 *
 * Sums of the first pixel: S01 r4, T01 r5, S23 r6, T23 r7; of the second one in the same order r8
 * .. r11. r0 points to inputs, r1 to weights; r2, r3, r12 and lr are free. */
#ifndef TESLA_PAIR_CODE_H
#define TESLA_PAIR_CODE_H

#include "tesla/dsp.h"
#include "tesla/pair.h"

#if TESLA_DSP
/* The stack: 0 end of a block's weights, then the pair's first members: 4 own, 8 channels, 12
 * rounding, 16 input, 20 active, 24 first, 28 second, 32 skipped, 36 end, 40 early. */

/* The loop over blocks, which finds channels in r0 and weights in r1. */
#define TESLA_PAIR_BLOCKS                                                                          \
    "1:                            \n" /* a block of four channels */                              \
    "str    r0, [sp, #8]           \n"                                                             \
    "ldr    r4, [r0]               \n" /* bias of channel 0 */                                     \
    "ldr    r6, [r0, #24]          \n" /* bias of channel 2 */                                     \
    "ldrd   r0, r3, [sp, #16]      \n"                                                             \
    "mov    r5, r4                 \n"                                                             \
    "mov    r8, r4                 \n"                                                             \
    "mov    r9, r4                 \n"                                                             \
    "mov    r7, r6                 \n"                                                             \
    "mov    r10, r6                \n"                                                             \
    "mov    r11, r6                \n"                                                             \
    "add    r3, r3, r1             \n"                                                             \
    "str    r3, [sp]               \n"

/* Products of the weights in r12 and lr with the words of both pixels. */
#define TESLA_PAIR_STEP(X, Y)                                                                      \
    "smlad  r5, r12, " X ", r5     \n" /* T += x (256 B + A) */                                    \
    "smlad  r9, r12, " Y ", r9     \n"                                                             \
    "smlad  r7, lr, " X ", r7      \n"                                                             \
    "smlad  r11, lr, " Y ", r11    \n"                                                             \
    "sxtb16 r12, r12               \n" /* the lower bytes: A alone */                              \
    "sxtb16 lr, lr                 \n"                                                             \
    "smlad  r4, r12, " X ", r4     \n" /* S += x A */                                              \
    "smlad  r8, r12, " Y ", r8     \n"                                                             \
    "smlad  r6, lr, " X ", r6      \n"                                                             \
    "smlad  r10, lr, " Y ", r10    \n"

/* Accumulators A, B of a channel in both pixels to outputs in the upper halves; r2 bias, r3
 * multiplier, r12 scale, lr rounding. HOW does what comes before the scale. */
#define PRODUCT(A, B)                                                                              \
    "smmlar " A ", " A ", r3, " A "    \n" /* the doubling high product */                         \
    "smmlar " B ", " B ", r3, " B "    \n"
#define SCALE(A, B)                                                                                \
    "mla    " A ", " A ", r12, lr      \n"                                                         \
    "mla    " B ", " B ", r12, lr      \n"
#define CHANNEL "ldm    r0!, {r2, r3, r12}         \n"
#define UPPER(A, B)                                                                                \
    "add    " A ", r2, " A ", asr #8   \n"                                                         \
    "add    " B ", r2, " B ", asr #8   \n"
#define EVEN(A, B, HOW) CHANNEL PRODUCT(A, B) HOW(A, B) SCALE(A, B)
/* An odd channel: A and B hold T - S. */
#define ODD(A, B, HOW) CHANNEL UPPER(A, B) PRODUCT(A, B) HOW(A, B) SCALE(A, B)
#define PLAIN(A, B)
#define AWAY(A, B) /* halves go away from zero */                                                  \
    "add    " A ", " A ", " A ", asr #31\n"                                                        \
    "add    " B ", " B ", " B ", asr #31\n"
#define SHIFT(A, B)                                                                                \
    "ldr    r2, [sp, #40]              \n"                                                         \
    "asr    " A ", " A ", r2           \n"                                                         \
    "asr    " B ", " B ", r2           \n"
#define EARLY(A, B) AWAY(A, B) SHIFT(A, B)
#define FOUR(HOW)                                                                                  \
    EVEN("r4", "r8", HOW) ODD("r5", "r9", HOW) EVEN("r6", "r10", HOW) ODD("r7", "r11", HOW)
/* The upper halves of A .. D, saturated, as the bytes of A. */
#define BYTES(A, B, C, D)                                                                          \
    "pkhtb  " A ", " C ", " A ", asr #16   \n"                                                     \
    "pkhtb  " B ", " D ", " B ", asr #16   \n"                                                     \
    "usat16 " A ", #8, " A "               \n"                                                     \
    "usat16 " B ", #8, " B "               \n"                                                     \
    "orr    " A ", " A ", " B ", lsl #8    \n"                                                     \
    "eor    " A ", " A ", #0x80808080      \n"

#define HALVES                                                                                     \
    "ldrd   r0, lr, [sp, #8]       \n"                                                             \
    "sub    r5, r5, r4             \n"                                                             \
    "sub    r9, r9, r8             \n"                                                             \
    "sub    r7, r7, r6             \n"                                                             \
    "sub    r11, r11, r10          \n"                                                             \
    "lsls   r2, lr, #31            \n" /* bit 0 to the sign, bit 1 to the carry */                 \
    "bmi    3f                     \n"
#define NEXT                                                                                       \
    "ldrd   r2, r3, [sp, #24]      \n"                                                             \
    "ldrd   r12, lr, [sp, #32]     \n"                                                             \
    "str    r4, [r2], #4           \n"                                                             \
    "str    r8, [r3], #4           \n"                                                             \
    "strd   r2, r3, [sp, #24]      \n"                                                             \
    "add    r1, r1, r12            \n"                                                             \
    "cmp    r0, lr                 \n"                                                             \
    "bne    1b                     \n"
#define BOTH BYTES("r4", "r5", "r6", "r7") BYTES("r8", "r9", "r10", "r11")
/* Four outputs of each pixel, then the next block. */
#define TESLA_PAIR_OUTPUTS HALVES FOUR(PLAIN) "4: \n" BOTH NEXT
/* Behind the function's end: the same where halves go away from zero, and with a shift before. */
#define TESLA_PAIR_AWAY                                                                            \
    "3:                            \n"                                                             \
    "bcs    5f                     \n" FOUR(AWAY) "b      4b                     \n"               \
                                                  "5:                            \n"               \
                                                  "adr.w  r2, 4b                 \n"               \
                                                  "orr    r2, r2, #1             \n"               \
                                                  "str    r2, [sp]               \n"               \
                                                  "b.w    tesla_pair_early       \n"
#define TESLA_PAIR_EARLY                                                                           \
    ".syntax unified               \n" FOUR(EARLY) "ldr    pc, [sp]               \n"

/* For both functions alone: goes on at the address that the stack begins with. */
void tesla_pair_early(void);
#else
/* The output of a channel from its sum without bias. */
static inline int8_t tesla_pair_output(const tesla_pair_t *pair,
                                       const tesla_scaled_channel_t *channel, uint32_t sum) {
    const int32_t accumulator = channel->bias + (int32_t)sum;
    const int32_t high = tesla_high_word_added(accumulator, channel->multiplier);
    const int32_t away = high < 0 && (pair->rounding & 1) != 0 ? -1 : 0;
    const int32_t shifted = (high + away) >> pair->early;
    /* Modulo 2^32, as MLA: channels that are not active may overflow, and are dropped. */
    const uint32_t scaled = (uint32_t)shifted * (uint32_t)channel->scale + (uint32_t)pair->rounding;
    return (int8_t)tesla_saturated(((int32_t)scaled >> 16) - 128);
}

/* Adds the inputs and weights of a word, two halves 256 B + A, to S and T of its two channels. */
static inline void tesla_pair_word(uint32_t sums[2], const int16_t *input, const int8_t *weights) {
    for (uint32_t half = 0; half < 2u; ++half) {
        const int32_t low = weights[2u * half];
        const int32_t both = weights[2u * half + 1u] * 256 + (uint8_t)low;
        sums[0] += (uint32_t)(input[half] * low);
        sums[1] += (uint32_t)(input[half] * both);
    }
}

/* The four outputs of a block from S01, T01, S23, T23. */
static inline void tesla_pair_outputs(const tesla_pair_t *pair, uint32_t block, uint32_t pixel,
                                      const uint32_t sums[4]) {
    int8_t *output = &(pixel == 0u ? pair->first : pair->second)[block * 4u];
    for (uint32_t row = 0; row < 4u; ++row) {
        const uint32_t even = row & ~1u;
        const int32_t odd = (int32_t)(sums[even + 1u] - sums[even]) >> 8;
        output[row] = tesla_pair_output(pair, &pair->channels[block * 4u + row],
                                        row % 2u != 0u ? (uint32_t)odd : sums[even]);
    }
}
#endif

#endif /* TESLA_PAIR_CODE_H */
