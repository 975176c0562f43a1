/* Sums and outputs of two pixels over packed weights: see tesla/pair.h. */
#include "tesla/pair.h"

#include "tesla/dsp.h"

#if TESLA_DSP
/* Two inputs of two pixels by four channels. r12 and lr: weights of the channels 0, 1 and 2, 3; r2
 * and r3: inputs of the first and the second pixel. Sums of the first pixel: S01 r4, T01 r5, S23
 * r6, T23 r7; of the second one in the same order r8 .. r11. */
#define STEP                                                                                       \
    "ldrd   r12, lr, [r1], #8      \n"                                                             \
    "ldrd   r2, r3, [r0], #8       \n"                                                             \
    "smlad  r5, r12, r2, r5        \n" /* T += x (256 B + A) */                                    \
    "smlad  r9, r12, r3, r9        \n"                                                             \
    "smlad  r7, lr, r2, r7         \n"                                                             \
    "smlad  r11, lr, r3, r11       \n"                                                             \
    "sxtb16 r12, r12               \n" /* the lower bytes: A alone */                              \
    "sxtb16 lr, lr                 \n"                                                             \
    "smlad  r4, r12, r2, r4        \n" /* S += x A */                                              \
    "smlad  r8, r12, r3, r8        \n"                                                             \
    "smlad  r6, lr, r2, r6         \n"                                                             \
    "smlad  r10, lr, r3, r10       \n"

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

/* Bytes of code of a quad: 24 instructions of 4 bytes. */
#define QUAD_CODE "96"

/* r0 pair. The stack: 0 end of a block's weights, 4 entry of the loop, 8 end of the channels, then
 * a copy of *pair: 12 input, 16 weights, 20 channels, 24 first, 28 second, 32 blocks, 36 quads
 * (times 16: bytes), 40 pitch (less these bytes). */
TESLA_NAKED void tesla_pair_dsp(const tesla_pair_t *pair TESLA_UNUSED) {
    __asm__(".syntax unified               \n"
            "push   {r4-r11, lr}           \n"
            "ldm    r0, {r4-r11}           \n"
            "sub    sp, sp, #44            \n"
            "and    r2, r10, #3            \n" /* enter the loop in front of the last quads % 4 */
            "rsb    r2, r2, #4             \n"
            "and    r2, r2, #3             \n"
            "mov    r3, #" QUAD_CODE "     \n"
            "mul    r2, r2, r3             \n"
            "adr    r3, 2f                 \n"
            "add    r3, r3, r2             \n"
            "orr    r3, r3, #1             \n"
            "lsl    r10, r10, #4           \n"
            "sub    r11, r11, r10          \n"
            "add    r2, r6, r9, lsl #6     \n"
            "strd   r3, r2, [sp, #4]       \n"
            "add    r12, sp, #12           \n"
            "stm    r12, {r4-r11}          \n"
            "mov    r1, r5                 \n"
            "1:                            \n" /* a block of four channels */
            "ldr    r2, [sp, #20]          \n"
            "ldr    r3, [sp, #36]          \n"
            "ldr    r0, [sp, #12]          \n"
            "ldr    r4, [r2]               \n" /* bias of channel 0 */
            "ldr    r6, [r2, #32]          \n" /* bias of channel 2 */
            "add    r3, r3, r1             \n"
            "str    r3, [sp]               \n"
            "mov    r5, r4                 \n"
            "mov    r8, r4                 \n"
            "mov    r9, r4                 \n"
            "mov    r7, r6                 \n"
            "mov    r10, r6                \n"
            "mov    r11, r6                \n"
            "ldr    pc, [sp, #4]           \n"
            ".p2align 2                    \n"
            "2:                            \n"
            ".rept 8                       \n" STEP ".endr                         \n"
            "ldr    r2, [sp]               \n"
            "cmp    r1, r2                 \n"
            "bne    2b                     \n"
            "ldr    r0, [sp, #20]          \n"
            "sub    r5, r5, r4             \n"
            "sub    r9, r9, r8             \n"
            "sub    r7, r7, r6             \n"
            "sub    r11, r11, r10          \n" EVEN("r4", "r8") ODD("r5", "r9") EVEN("r6", "r10")
                ODD("r7", "r11") /* four outputs each in r4 .. r7 and r8 .. r11 */
            "ldrd   r2, r3, [sp, #24]      \n"
            "str    r0, [sp, #20]          \n"
            "strb   r5, [r2, #1]           \n"
            "strb   r6, [r2, #2]           \n"
            "strb   r7, [r2, #3]           \n"
            "strb   r4, [r2], #4           \n"
            "strb   r9, [r3, #1]           \n"
            "strb   r10, [r3, #2]          \n"
            "strb   r11, [r3, #3]          \n"
            "strb   r8, [r3], #4           \n"
            "strd   r2, r3, [sp, #24]      \n"
            "ldr    r12, [sp, #40]         \n"
            "ldr    lr, [sp, #8]           \n"
            "add    r1, r1, r12            \n"
            "cmp    r0, lr                 \n"
            "bne    1b                     \n"
            "add    sp, sp, #44            \n"
            "pop    {r4-r11, pc}           \n");
}
#else
static int8_t finished(const tesla_channel_t *channel, uint32_t sum) {
    const int32_t accumulator = channel->bias + (int32_t)sum;
    const int32_t high = tesla_high_word_added(accumulator, channel->multiplier);
    const int32_t value = high + (high < 0 ? -1 : 0) + channel->rounding;
    return (int8_t)tesla_saturated(value >> channel->shift);
}

/* Word by word: a quad has four words of weights, each of two halves 256 B + A. */
static void one_block(const tesla_pair_t *pair, uint32_t block) {
    const int8_t *weights = &pair->weights[block * pair->pitch];
    for (uint32_t pixel = 0; pixel < 2u; ++pixel) {
        uint32_t sums[4] = {0, 0, 0, 0}; /* S01, T01, S23, T23 */
        for (uint32_t i = 0; i < pair->quads * 8u; ++i) {
            const int32_t low = weights[2u * i];
            const int32_t both = weights[2u * i + 1u] * 256 + (uint8_t)low;
            const int32_t x = pair->input[i / 4u * 4u + 2u * pixel + i % 2u];
            sums[i / 2u % 2u * 2u] += (uint32_t)(x * low);
            sums[i / 2u % 2u * 2u + 1u] += (uint32_t)(x * both);
        }
        int8_t *output = &(pixel == 0u ? pair->first : pair->second)[block * 4u];
        for (uint32_t row = 0; row < 4u; ++row) {
            const uint32_t even = row & ~1u;
            const int32_t odd = (int32_t)(sums[even + 1u] - sums[even]) >> 8;
            output[row] = finished(&pair->channels[block * 4u + row],
                                   row % 2u != 0u ? (uint32_t)odd : sums[even]);
        }
    }
}

void tesla_pair_dsp(const tesla_pair_t *pair) {
    for (uint32_t block = 0; block < pair->blocks; ++block) {
        one_block(pair, block);
    }
}
#endif

void tesla_pair_channels(const tesla_pair_t *pair, uint32_t channels) {
    tesla_pair_t part = *pair;
    part.blocks = channels / 4u;
    if (part.blocks != 0u) {
        tesla_pair_dsp(&part);
    }
    const uint32_t rest = channels % 4u;
    if (rest == 0u) {
        return;
    }
    /* The last block has channels that are not active: outputs and constants of their own. */
    const tesla_channel_t none = {0, 0, 0, 1};
    tesla_channel_t last[4] = {none, none, none, none};
    int8_t outputs[8];
    for (uint32_t i = 0; i < rest; ++i) {
        last[i] = pair->channels[part.blocks * 4u + i];
    }
    part.weights = &pair->weights[part.blocks * pair->pitch];
    part.channels = last;
    part.first = outputs;
    part.second = &outputs[4];
    part.blocks = 1;
    tesla_pair_dsp(&part);
    for (uint32_t i = 0; i < rest; ++i) {
        pair->first[channels - rest + i] = outputs[i];
        pair->second[channels - rest + i] = outputs[4u + i];
    }
}

void tesla_clamp_outputs(const tesla_packed_region_t *region, int8_t *output, uint32_t count) {
    const int8_t low = region->activation_min;
    const int8_t high = region->activation_max;
    if (low == INT8_MIN && high == INT8_MAX) {
        return;
    }
    for (uint32_t i = 0; i < count; ++i) {
        const int8_t value = output[i] < low ? low : output[i];
        output[i] = value > high ? high : value;
    }
}
