/* What functions on two pixels share: how a block of four channels begins and ends.
 *
 * Sums of the first pixel: S01 r4, T01 r5, S23 r6, T23 r7; of the second one in the same order r8
 * .. r11. r0 points to inputs, r1 to weights; r2, r3, r12 and lr are free. */
#ifndef TESLA_PAIR_CODE_H
#define TESLA_PAIR_CODE_H

#include "tesla/dsp.h"
#include "tesla/pair.h"

#if TESLA_DSP
/* The stack: 0 end of a block's weights, 4 for the function's own use, 8 end of the channels, then
 * a copy of the pair: 12 input, 16 weights, 20 channels, 24 first, 28 second, 32 blocks, 36 bytes
 * of a block's active weights, 40 pitch less these bytes, 44 column. */

/* From the pair in r0, and in r10 the bytes of weights of a block, to the loop over blocks at 1:.
 * r4
 * .. r11 hold the pair's first members already. */
#define TESLA_PAIR_BLOCKS                                                                          \
    "sub    r11, r11, r10          \n"                                                             \
    "add    r2, r6, r9, lsl #6     \n"                                                             \
    "str    r2, [sp, #8]           \n"                                                             \
    "add    r12, sp, #12           \n"                                                             \
    "stm    r12, {r4-r11}          \n"                                                             \
    "mov    r1, r5                 \n"                                                             \
    "1:                            \n" /* a block of four channels */                              \
    "ldr    r2, [sp, #20]          \n"                                                             \
    "ldr    r3, [sp, #36]          \n"                                                             \
    "ldr    r0, [sp, #12]          \n"                                                             \
    "ldr    r4, [r2]               \n" /* bias of channel 0 */                                     \
    "ldr    r6, [r2, #32]          \n" /* bias of channel 2 */                                     \
    "add    r3, r3, r1             \n"                                                             \
    "str    r3, [sp]               \n"                                                             \
    "mov    r5, r4                 \n"                                                             \
    "mov    r8, r4                 \n"                                                             \
    "mov    r9, r4                 \n"                                                             \
    "mov    r7, r6                 \n"                                                             \
    "mov    r10, r6                \n"                                                             \
    "mov    r11, r6                \n"

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

/* Accumulators A, B of a channel in both pixels to outputs; r2 bias, r3 multiplier, r12 rounding,
 * lr shift. */
#define FINISH(A, B)                                                                               \
    "smmlar " A ", " A ", r3, " A "    \n" /* the doubling high product */                         \
    "smmlar " B ", " B ", r3, " B "    \n"                                                         \
    "add    " A ", " A ", " A ", asr #31\n" /* halves away from zero */                            \
    "add    " B ", " B ", " B ", asr #31\n"                                                        \
    "add    " A ", r12                 \n"                                                         \
    "add    " B ", r12                 \n"                                                         \
    "asr    " A ", lr                  \n"                                                         \
    "asr    " B ", lr                  \n"                                                         \
    "ssat   " A ", #8, " A "           \n"                                                         \
    "ssat   " B ", #8, " B "           \n"
#define EVEN(A, B) "ldm r0!, {r2, r3, r12, lr} \n" FINISH(A, B)
/* An odd channel: A and B hold T - S. */
#define ODD(A, B)                                                                                  \
    "ldm    r0!, {r2, r3, r12, lr}     \n"                                                         \
    "add    " A ", r2, " A ", asr #8   \n"                                                         \
    "add    " B ", r2, " B ", asr #8   \n" FINISH(A, B)

/* Four outputs of each pixel, then the next block, or the end of the function. */
#define TESLA_PAIR_OUTPUTS                                                                         \
    "ldr    r0, [sp, #20]          \n"                                                             \
    "sub    r5, r5, r4             \n"                                                             \
    "sub    r9, r9, r8             \n"                                                             \
    "sub    r7, r7, r6             \n"                                                             \
    "sub    r11, r11, r10          \n" EVEN("r4", "r8") ODD("r5", "r9") EVEN("r6", "r10")          \
        ODD("r7", "r11") /* outputs in r4 .. r7 and r8 .. r11 */                                   \
        "ldrd   r2, r3, [sp, #24]      \n"                                                         \
        "str    r0, [sp, #20]          \n"                                                         \
        "strb   r5, [r2, #1]           \n"                                                         \
        "strb   r6, [r2, #2]           \n"                                                         \
        "strb   r7, [r2, #3]           \n"                                                         \
        "strb   r4, [r2], #4           \n"                                                         \
        "strb   r9, [r3, #1]           \n"                                                         \
        "strb   r10, [r3, #2]          \n"                                                         \
        "strb   r11, [r3, #3]          \n"                                                         \
        "strb   r8, [r3], #4           \n"                                                         \
        "strd   r2, r3, [sp, #24]      \n"                                                         \
        "ldr    r12, [sp, #40]         \n"                                                         \
        "ldr    lr, [sp, #8]           \n"                                                         \
        "add    r1, r1, r12            \n"                                                         \
        "cmp    r0, lr                 \n"                                                         \
        "bne    1b                     \n"                                                         \
        "add    sp, sp, #48            \n"                                                         \
        "pop    {r4-r11, pc}           \n"
#else
/* The output of a channel from its sum without bias. */
static inline int8_t tesla_pair_output(const tesla_channel_t *channel, uint32_t sum) {
    const int32_t accumulator = channel->bias + (int32_t)sum;
    const int32_t high = tesla_high_word_added(accumulator, channel->multiplier);
    const int32_t value = high + (high < 0 ? -1 : 0) + channel->rounding;
    return (int8_t)tesla_saturated(value >> channel->shift);
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
        output[row] = tesla_pair_output(&pair->channels[block * 4u + row],
                                        row % 2u != 0u ? (uint32_t)odd : sums[even]);
    }
}
#endif

#endif /* TESLA_PAIR_CODE_H */
