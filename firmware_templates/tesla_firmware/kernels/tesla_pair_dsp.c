/* Sums and outputs of two pixels over packed weights: see tesla/pair.h. */
#include "tesla/pair_code.h"

#if TESLA_DSP
/* Two inputs of both pixels, in r2 and r3. */
#define STEP                                                                                       \
    "ldrd   r12, lr, [r1], #8      \n"                                                             \
    "ldrd   r2, r3, [r0], #8       \n" TESLA_PAIR_STEP("r2", "r3")

/* The stack at 4: where the loop over four quads at a time is entered, 96 bytes of code each. */
TESLA_NAKED void tesla_pair_dsp(const tesla_pair_t *pair TESLA_UNUSED) {
    __asm__(".syntax unified               \n"
            "push   {r4-r11, lr}           \n"
            "ldm    r0!, {r2-r11}          \n"
            "adr    r12, 2f                \n"
            "add    r2, r2, r12            \n"
            "orr    r2, r2, #1             \n"
            "ldr    r1, [r0]               \n"
            "push   {r2-r11}               \n"
            "sub    sp, sp, #4             \n"
            "mov    r0, r3                 \n" TESLA_PAIR_BLOCKS "ldr    pc, [sp, #4]           \n"
            ".p2align 2                    \n"
            "2:                            \n"
            ".rept 8                       \n" STEP ".endr                         \n"
            "ldr    r2, [sp]               \n"
            "cmp    r1, r2                 \n"
            "bne    2b                     \n");
    __asm__(TESLA_PAIR_OUTPUTS "add    sp, sp, #44            \n"
                               "pop    {r4-r11, pc}           \n" TESLA_PAIR_AWAY);
}

TESLA_NAKED void tesla_pair_early(void) {
    __asm__(TESLA_PAIR_EARLY);
}
#else
void tesla_pair_dsp(const tesla_pair_t *pair) {
    const uint32_t blocks = (uint32_t)(pair->end - pair->channels) / 4u;
    for (uint32_t i = 0; i < blocks * 2u; ++i) {
        const uint32_t pixel = i % 2u;
        const int8_t *weights = &pair->weights[i / 2u * (pair->active + pair->skipped)];
        uint32_t sums[4] = {0, 0, 0, 0};
        for (uint32_t word = 0; word < pair->active / 4u; ++word) { /* channels 0, 1 and 2, 3 */
            const int16_t *input = &pair->input[word / 2u * 4u + 2u * pixel];
            tesla_pair_word(&sums[word % 2u * 2u], input, &weights[word * 4u]);
        }
        tesla_pair_outputs(pair, i / 2u, pixel, sums);
    }
}
#endif

void tesla_pair_set_rest(tesla_pair_rest_t *rest, const tesla_pair_t *pair, uint32_t channels) {
    const uint32_t before = (uint32_t)(pair->end - pair->channels);
    const tesla_scaled_channel_t none = {0, 0, 4};
    rest->count = channels - before;
    rest->pair = *pair;
    for (uint32_t i = 0; i < 4u; ++i) {
        rest->channels[i] = i < rest->count ? pair->end[i] : none;
    }
    rest->pair.weights = &pair->weights[before / 4u * (pair->active + pair->skipped)];
    rest->pair.channels = rest->channels;
    rest->pair.end = &rest->channels[4];
    rest->pair.first = rest->outputs;
    rest->pair.second = &rest->outputs[4];
    rest->pair.pairs = 1;
}

void tesla_pair_and_rest(const tesla_pair_t *pair, tesla_pair_rest_t *rest,
                         void (*blocks)(const tesla_pair_t *pair)) {
    const uint32_t before = (uint32_t)(pair->end - pair->channels);
    int8_t *first = &pair->first[before];
    int8_t *second = &pair->second[before];
    if (before != 0u) {
        blocks(pair);
    }
    rest->pair.input = pair->input;
    for (uint32_t left = pair->pairs; left != 0u; --left) {
        blocks(&rest->pair);
        first[0] = rest->outputs[0];
        second[0] = rest->outputs[4];
        if (rest->count > 1u) {
            first[1] = rest->outputs[1];
            second[1] = rest->outputs[5];
        }
        if (rest->count > 2u) {
            first[2] = rest->outputs[2];
            second[2] = rest->outputs[6];
        }
        rest->pair.input += 24; /* two columns of 3 by 3 taps */
        first += before + pair->step;
        second += before + pair->step;
    }
}

void tesla_pair_fill(int8_t *bytes, int8_t value, uint32_t count) {
#pragma GCC unroll 1
    for (; count != 0u; --count) {
        *bytes++ = value;
    }
}
