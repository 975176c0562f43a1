/* Fully connected, int8, for the DSP instructions: four outputs at a time over packed weights. */
#include "tesla/dsp.h"
#include "tesla/kernels.h"
#include "tesla/widen.h"

/* Adds `quads` quads of inputs to the sums of a block, in the order S01, T01, S23, T23; how weights
 * are packed and what S and T are stands in docs/kernels.md. Sums wrap around. */
#if TESLA_DSP
/* One quad of inputs in X02, X13 and of weights in r2, r3, r12, lr; sums in r4 .. r7. */
#define QUAD(X02, X13)                                                                             \
    "ldm    r1!, {r2, r3, r12, lr}      \n"                                                        \
    "smlad  r5, r2, " X02 ", r5         \n" /* T01 += x (256 B + A), inputs 0 and 2 */             \
    "smlad  r7, r3, " X02 ", r7         \n"                                                        \
    "smlad  r5, r12, " X13 ", r5        \n" /* inputs 1 and 3 */                                   \
    "smlad  r7, lr, " X13 ", r7         \n"                                                        \
    "sxtb16 r2, r2                      \n" /* the lower bytes: A alone */                         \
    "sxtb16 r3, r3                      \n"                                                        \
    "sxtb16 r12, r12                    \n"                                                        \
    "sxtb16 lr, lr                      \n"                                                        \
    "smlad  r4, r2, " X02 ", r4         \n" /* S01 += x A */                                       \
    "smlad  r6, r3, " X02 ", r6         \n"                                                        \
    "smlad  r4, r12, " X13 ", r4        \n"                                                        \
    "smlad  r6, lr, " X13 ", r6         \n"
#define TWO_QUADS "ldm r0!, {r8-r11} \n" QUAD("r8", "r9") QUAD("r10", "r11")

/* r0 inputs, r1 weights, r2 quads, r3 sums. On the stack: end of a loop's weights, quads, sums. */
static TESLA_NAKED void four_rows(const int16_t *input TESLA_UNUSED,
                                  const int8_t *weights TESLA_UNUSED, uint32_t quads TESLA_UNUSED,
                                  uint32_t sums[4] TESLA_UNUSED) {
    __asm__(".syntax unified                     \n"
            "push   {r2-r11, lr}                 \n"
            "ldm    r3, {r4-r7}                  \n"
            "bic    r3, r2, #7                   \n"
            "add    r3, r1, r3, lsl #4           \n"
            "push   {r3}                         \n"
            "b      2f                           \n"
            "1:                                  \n" /* eight quads, 32 inputs */
            ".rept 4 \n" TWO_QUADS ".endr \n"
            "2:                                  \n"
            "ldr    r2, [sp]                     \n"
            "cmp    r1, r2                       \n"
            "bne    1b                           \n"
            "ldr    r2, [sp, #4]                 \n"
            "and    r2, r2, #7                   \n"
            "add    r2, r1, r2, lsl #4           \n"
            "str    r2, [sp]                     \n"
            "b      4f                           \n"
            "3:                                  \n" /* the rest, quad by quad */
            "ldm    r0!, {r8, r9}                \n" QUAD(
                "r8", "r9") "4:                                  \n"
                            "ldr    r2, [sp]                     \n"
                            "cmp    r1, r2                       \n"
                            "bne    3b                           \n"
                            "ldr    r3, [sp, #8]                 \n"
                            "stm    r3, {r4-r7}                  \n"
                            "add    sp, sp, #12                  \n"
                            "pop    {r4-r11, pc}                 \n");
}
#else
static void four_rows(const int16_t *input, const int8_t *weights, uint32_t quads,
                      uint32_t sums[4]) {
    const uint32_t halves = quads * 8u;
    for (uint32_t i = 0; i < halves; ++i) { /* a quad has 4 words of 2 halves */
        const int32_t low = weights[2u * i];
        const int32_t both = weights[2u * i + 1u] * 256 + (uint8_t)low;
        const int32_t x = input[i / 8u * 4u + (i / 4u % 2u) * 2u + i % 2u];
        sums[i / 2u % 2u * 2u] += (uint32_t)(x * low);
        sums[i / 2u % 2u * 2u + 1u] += (uint32_t)(x * both);
    }
}
#endif

static int8_t finished(const tesla_packed_region_t *region, uint32_t channel, uint32_t sum) {
    const tesla_channel_t *c = &region->channels[channel];
    const int32_t high = tesla_high_word(c->bias + (int32_t)sum, c->multiplier);
    int32_t value = (high + c->rounding) >> c->shift;
    value = value < region->activation_min ? region->activation_min : value;
    return (int8_t)(value > region->activation_max ? region->activation_max : value);
}

void tesla_fully_connected_dsp(const tesla_fully_connected_t *layer,
                               const tesla_packed_region_t *region, const int8_t *input,
                               const int8_t *weights, void *scratch, int8_t *output) {
    const uint32_t quads = (region->input_channels + 3u) / 4u;
    const uint32_t full = (layer->group_channels + 3u) / 4u;
    int16_t *const wide = (int16_t *)scratch;
    for (uint32_t g = 0; g < layer->groups; ++g) {
        tesla_widen(&wide[g * quads * 4u], &input[g * region->input_channels],
                    region->input_channels, region->input_offset);
    }
    /* Groups at full width lie one after the other: then they are one. */
    const uint32_t groups = quads == full ? 1u : layer->groups;
    const uint32_t run = quads * layer->groups / groups;
    for (uint32_t out = 0; out < region->output_channels; out += 4u) {
        uint32_t sums[4] = {0, 0, 0, 0};
        for (uint32_t g = 0; g < groups; ++g) {
            four_rows(&wide[g * run * 4u], &weights[g * full * 16u], run, sums);
        }
        weights += layer->groups * full * 16u;
        const uint32_t left = region->output_channels - out;
        for (uint32_t i = 0; i < (left < 4u ? left : 4u); ++i) {
            const uint32_t even = i & ~1u;
            const int32_t odd = (int32_t)(sums[even + 1u] - sums[even]) >> 8;
            output[out + i] = finished(region, out + i, i % 2u ? (uint32_t)odd : sums[even]);
        }
    }
}
