/* Addition, int8, for the DSP instructions: two products and one shift for each element. */
#include "tesla/clamp.h"
#include "tesla/dsp.h"
#include "tesla/kernels.h"

/* sum + ((factor * value) >> 16) for the lower half of `values`: SMLAWB. */
static TESLA_INLINE int32_t added(int32_t factor, uint32_t values, int32_t sum) {
    return sum + (int32_t)(((int64_t)factor * (int16_t)(uint16_t)values) >> 16);
}

/* The output of two values, 256 times as large. */
static TESLA_INLINE int8_t output_of(const tesla_add_once_t *region, uint32_t first,
                                     uint32_t second) {
    const int32_t sum = added(region->first_factor, first, region->constant);
    return (int8_t)tesla_saturated(added(region->second_factor, second, sum) >> 20);
}

#if TESLA_DSP
/* The outputs of two elements, of which the halves of FIRST and SECOND hold 256 times the values:
 * of 0 and 2, whose bytes go up; then of 1 and 3. */
#define TWO(LOWER, UPPER, FIRST, SECOND)                                                           \
    "smlawt " UPPER ", %[f], " FIRST ", %[constant]   \n"                                          \
    "smlawb " LOWER ", %[f], " FIRST ", %[constant]   \n"                                          \
    "smlawt " UPPER ", %[s], " SECOND ", " UPPER "    \n"                                          \
    "smlawb " LOWER ", %[s], " SECOND ", " LOWER "    \n"                                          \
    "ssat   " UPPER ", #8, " UPPER ", asr #20         \n"                                          \
    "ssat   " LOWER ", #8, " LOWER ", asr #20         \n"
#define EVEN                                                                                       \
    "and    %[c], %[upper], %[a], lsl #8\n"                                                        \
    "and    %[d], %[upper], %[b], lsl #8\n" TWO("%[c]", "%[e]", "%[c]", "%[d]")
#define ODD                                                                                        \
    "and    %[a], %[upper], %[a]        \n"                                                        \
    "and    %[b], %[upper], %[b]        \n" TWO("%[c]", "%[e]", "%[a]", "%[b]")

/* `fours` times four elements, at least once. */
static TESLA_INLINE void four_by_four(const tesla_add_once_t *region, uint32_t fours,
                                      const int8_t *first, const int8_t *second, int8_t *output) {
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint32_t d;
    uint32_t e;
    __asm__ volatile(
        "1:                                 \n"
        "ldr    %[a], [%[first]], #4        \n"
        "ldr    %[b], [%[second]], #4       \n" EVEN "strb   %[e], [%[output], #2]       \n"
        "strb   %[c], [%[output]], #4       \n" ODD "strb   %[e], [%[output], #3 - 4]   \n"
        "strb   %[c], [%[output], #1 - 4]   \n"
        "subs   %[fours], %[fours], #1      \n"
        "bne    1b                          \n"
        : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [e] "=&r"(e),
          [fours] "+&r"(fours), [first] "+&r"(first), [second] "+&r"(second), [output] "+&r"(output)
        : [f] "r"(region->first_factor), [s] "r"(region->second_factor),
          [constant] "r"(region->constant), [upper] "r"(0xFF00FF00u)
        : "cc", "memory");
}
#endif

void tesla_add_once_dsp(const tesla_add_once_t *region, const int8_t *first, const int8_t *second,
                        int8_t *output) {
    uint32_t i = 0;
#if TESLA_DSP
    if (region->size >= 4u) {
        i = region->size & ~3u;
        four_by_four(region, i / 4u, first, second, output);
    }
#endif
    for (; i < region->size; ++i) {
        output[i] = output_of(region, (uint32_t)first[i] << 8, (uint32_t)second[i] << 8);
    }
    tesla_clamp_outputs(region->activation_min, region->activation_max, output, region->size);
}
