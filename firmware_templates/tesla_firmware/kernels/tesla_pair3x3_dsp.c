/* Two neighbouring pixels under 3 by 3 taps over packed weights: see tesla/pair.h. */
#include "tesla/pair_code.h"

#if TESLA_DSP
/* A row of taps of two channels, at IN in the columns and at W in the weights: what is the second
 * pixel's input under one tap is the first one's under the next. */
#define ROW(IN, W)                                                                                 \
    WEIGHTS(W, "0")                                                                                \
    "ldr    r2, [r0, #" IN "]      \n"                                                             \
    "ldr    r3, [r0, #" IN " + 24] \n" TESLA_PAIR_STEP("r2", "r3")                                 \
        WEIGHTS(W, "8") "ldr    r2, [r0, #" IN " + 48] \n" TESLA_PAIR_STEP("r3", "r2")             \
            WEIGHTS(W, "16") "ldr    r3, [r0, #" IN " + 72] \n" TESLA_PAIR_STEP("r2", "r3")
#define WEIGHTS(W, TAP)                                                                            \
    "ldr    r12, [r1, #" W " + " TAP "]    \n"                                                     \
    "ldr    lr, [r1, #" W " + " TAP " + 4] \n"

/* The stack at 4: bytes from one quad of channels to the next; 44 the channels' beginning, 48 the
 * weights', 52 pairs, 56 step. */
TESLA_NAKED void tesla_pair3x3_dsp(const tesla_pair_t *pair TESLA_UNUSED) {
    __asm__(".syntax unified               \n"
            "push   {r4-r11, lr}           \n"
            "ldr    r1, [r0, #4]           \n" /* channels */
            "add    r2, r0, #40            \n"
            "ldm    r2, {r2-r4}            \n" /* weights, pairs, step */
            "push   {r1-r4}                \n"
            "ldm    r0!, {r2-r11}          \n"
            "ldr    r1, [r0]               \n"
            "push   {r2-r11}               \n"
            "sub    sp, sp, #4             \n"
            "mov    r0, r3                 \n" TESLA_PAIR_BLOCKS
            "2:                            \n" /* a quad of channels */
            ROW("0", "0") ROW("4", "24"));
    __asm__(ROW("8", "48") ROW("12", "72"));
    __asm__(ROW("16", "96") ROW("20", "120") "ldr    r3, [sp, #4]           \n"
                                             "ldr    r2, [sp]               \n"
                                             "add    r1, r1, #144           \n"
                                             "add    r0, r0, r3             \n"
                                             "cmp    r1, r2                 \n"
                                             "bne    2b                     \n");
    __asm__(TESLA_PAIR_OUTPUTS);
    __asm__("ldrd   r4, r5, [sp, #52]      \n" /* the next pair: two columns on */
            "ldr    r6, [sp, #16]          \n"
            "ldrd   r0, r1, [sp, #44]      \n"
            "add    r2, r2, r5             \n"
            "add    r3, r3, r5             \n"
            "add    r6, r6, #48            \n"
            "strd   r2, r3, [sp, #24]      \n"
            "subs   r4, r4, #1             \n"
            "str    r6, [sp, #16]          \n"
            "str    r4, [sp, #52]          \n"
            "bne    1b                     \n"
            "add    sp, sp, #60            \n"
            "pop    {r4-r11, pc}           \n" TESLA_PAIR_AWAY);
}
#else
static void one_pair(const tesla_pair_t *pair) {
    const uint32_t blocks = (uint32_t)(pair->end - pair->channels) / 4u;
    for (uint32_t i = 0; i < blocks * 2u; ++i) {
        const uint32_t pixel = i % 2u;
        const int8_t *weights = &pair->weights[i / 2u * (pair->active + pair->skipped)];
        const int16_t *input = pair->input;
        uint32_t sums[4] = {0, 0, 0, 0};
        for (uint32_t quad = 0; quad < pair->active / 144u; ++quad) {
            for (uint32_t step = 0; step < 18u; ++step) { /* row, half of the quad, column */
                const int16_t *two = &input[(step % 3u + pixel) * 12u + step / 3u * 2u];
                tesla_pair_word(sums, two, weights);
                tesla_pair_word(&sums[2], two, &weights[4]);
                weights += 8;
            }
            input += pair->own / 2u;
        }
        tesla_pair_outputs(pair, i / 2u, pixel, sums);
    }
}

void tesla_pair3x3_dsp(const tesla_pair_t *pair) {
    tesla_pair_t one = *pair;
    for (uint32_t i = 0; i < pair->pairs; ++i) {
        one_pair(&one);
        one.input += 24;
        one.first += (uint32_t)(pair->end - pair->channels) + pair->step;
        one.second += (uint32_t)(pair->end - pair->channels) + pair->step;
    }
}
#endif
