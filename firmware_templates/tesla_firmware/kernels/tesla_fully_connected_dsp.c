/* Fully connected, int8, for the DSP instructions: four outputs at a time over packed weights. */
#include "tesla/clamp.h"
#include "tesla/dsp.h"
#include "tesla/kernels.h"
#include "tesla/widen.h"

/* Adds `quads` quads of inputs to the four sums of a block, of which those of odd channels have to
 * be exact; how weights are packed and what S and T are stands in docs/kernels.md. */
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
            "mov    r4, #0                       \n"
            "mov    r5, #0                       \n"
            "mov    r6, #0                       \n"
            "mov    r7, #0                       \n"
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
                            "sub    r5, r5, r4                   \n"
                            "sub    r7, r7, r6                   \n"
                            "ldm    r3, {r8-r11}                 \n"
                            "add    r4, r4, r8                   \n"
                            "add    r5, r9, r5, asr #8           \n"
                            "add    r6, r6, r10                  \n"
                            "add    r7, r11, r7, asr #8          \n"
                            "stm    r3, {r4-r7}                  \n"
                            "add    sp, sp, #12                  \n"
                            "pop    {r4-r11, pc}                 \n");
}
#else
static void four_rows(const int16_t *input, const int8_t *weights, uint32_t quads,
                      uint32_t sums[4]) {
    const uint32_t halves = quads * 8u;
    uint32_t both[4] = {0, 0, 0, 0};
    for (uint32_t i = 0; i < halves; ++i) { /* a quad has 4 words of 2 halves */
        const int32_t low = weights[2u * i];
        const int32_t all = weights[2u * i + 1u] * 256 + (uint8_t)low;
        const int32_t x = input[i / 8u * 4u + (i / 4u % 2u) * 2u + i % 2u];
        both[i / 2u % 2u * 2u] += (uint32_t)(x * low);
        both[i / 2u % 2u * 2u + 1u] += (uint32_t)(x * all);
    }
    for (uint32_t i = 0; i < 4u; i += 2u) {
        sums[i] += both[i];
        sums[i + 1u] += (uint32_t)((int32_t)(both[i + 1u] - both[i]) >> 8);
    }
}
#endif

/* The sum of two products of halves and `sum` (SMLAD); wraps around. */
static inline uint32_t two_added(uint32_t a, uint32_t b, uint32_t sum) {
#if TESLA_DSP
    uint32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
#else
    const int32_t lower = (int16_t)(uint16_t)a * (int16_t)(uint16_t)b;
    return sum + (uint32_t)lower + (uint32_t)((int16_t)(a >> 16) * (int16_t)(b >> 16));
#endif
}

/* The same for the first two sums alone, of weights that take 8 bytes a quad. */
static void two_rows(const int16_t *input, const int8_t *weights, uint32_t quads,
                     uint32_t sums[4]) {
    uint32_t even = 0;
    uint32_t all = 0;
    for (uint32_t word = quads * 2u; word != 0u; --word) {
        const uint32_t x = tesla_get(input);
        uint32_t both = 0;
        tesla_copy(&both, weights, 4);
        even = two_added(tesla_widened_even(both, 0), x, even);
        all = two_added(both, x, all);
        input += 2;
        weights += 4;
    }
    sums[0] += even;
    sums[1] += (uint32_t)((int32_t)(all - even) >> 8);
}

static TESLA_INLINE int8_t finished(const tesla_channel_t *channel, uint32_t sum) {
    const int32_t high = tesla_high_word(channel->bias + (int32_t)sum, channel->multiplier);
    return (int8_t)tesla_saturated((high + channel->rounding) >> channel->shift);
}

void tesla_fully_connected_dsp(const tesla_dsp_dense_t *layer, const tesla_packed_region_t *region,
                               const int8_t *input, const int8_t *weights, void *scratch,
                               int8_t *output) {
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
    const tesla_channel_t *channel = region->channels;
    uint32_t left = region->output_channels;
    uint32_t rows = layer->outputs; /* whether active or not */
    for (int8_t *next = output; left != 0u; next += 4) {
        const uint32_t bytes = rows < 3u ? 8u : 16u; /* of a quad of weights */
        uint32_t sums[4]; /* an initialiser would become a call of memset */
        sums[0] = sums[1] = sums[2] = sums[3] = 0;
        for (uint32_t g = 0; g < groups; ++g) {
            for (uint32_t done = 0; done < run; done += layer->part) {
                const uint32_t rest = run - done;
                (rows < 3u ? two_rows : four_rows)(&wide[(g * run + done) * 4u],
                                                   &weights[(g * full + done) * bytes],
                                                   rest < layer->part ? rest : layer->part, sums);
            }
        }
        weights += layer->groups * full * bytes;
        rows -= 4u;
        if (left < 4u) {
            for (uint32_t i = 0; i < left; ++i) {
                next[i] = finished(&channel[i], sums[i]);
            }
            break;
        }
        next[0] = finished(&channel[0], sums[0]);
        next[1] = finished(&channel[1], sums[1]);
        next[2] = finished(&channel[2], sums[2]);
        next[3] = finished(&channel[3], sums[3]);
        channel += 4;
        left -= 4u;
    }
    tesla_clamp_outputs(region->activation_min, region->activation_max, output,
                        region->output_channels);
}
