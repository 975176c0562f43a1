/* Addition, int8, for the DSP instructions: two products and one shift for each element. */
#include "tesla/clamp.h"
#include "tesla/dsp.h"
#include "tesla/kernels.h"
#include "tesla/widen.h"

/* sum + ((factor * value) >> 16) for the lower half of `values` (SMLAWB), and for the upper one. */
static TESLA_INLINE int32_t lower_added(int32_t factor, uint32_t values, int32_t sum) {
#if TESLA_DSP
    int32_t result;
    __asm__("smlawb %0, %1, %2, %3" : "=r"(result) : "r"(factor), "r"(values), "r"(sum));
    return result;
#else
    return sum + (int32_t)(((int64_t)factor * (int16_t)(uint16_t)values) >> 16);
#endif
}

static TESLA_INLINE int32_t upper_added(int32_t factor, uint32_t values, int32_t sum) {
#if TESLA_DSP
    int32_t result;
    __asm__("smlawt %0, %1, %2, %3" : "=r"(result) : "r"(factor), "r"(values), "r"(sum));
    return result;
#else
    return lower_added(factor, values >> 16, sum);
#endif
}

static TESLA_INLINE int8_t output_of(int32_t sum) {
#if TESLA_DSP
    int32_t result;
    __asm__("ssat %0, #8, %1, asr #20" : "=r"(result) : "r"(sum));
    return (int8_t)result;
#else
    return (int8_t)tesla_saturated(sum >> 20);
#endif
}

/* Two elements, 256 times their values in the halves of words, to output[0] and output[2]. */
static TESLA_INLINE void two_elements(const tesla_add_once_t *region, uint32_t first,
                                      uint32_t second, int8_t *output) {
    const int32_t lower = lower_added(region->first_factor, first, region->constant);
    const int32_t upper = upper_added(region->first_factor, first, region->constant);
    output[0] = output_of(lower_added(region->second_factor, second, lower));
    output[2] = output_of(upper_added(region->second_factor, second, upper));
}

void tesla_add_once_dsp(const tesla_add_once_t *row, const int8_t *first, const int8_t *second,
                        int8_t *output) {
    const tesla_add_once_t region = *row;
    const uint32_t upper_bytes = 0xFF00FF00u;
    int8_t *const start = output;
    uint32_t a = 0;
    uint32_t b = 0;
    for (uint32_t count = region.size / 4u; count != 0u; --count) {
        tesla_copy(&a, first, 4);
        tesla_copy(&b, second, 4);
        first += 4;
        second += 4;
        two_elements(&region, a << 8 & upper_bytes, b << 8 & upper_bytes, output);
        two_elements(&region, a & upper_bytes, b & upper_bytes, &output[1]);
        output += 4;
    }
    for (uint32_t count = region.size % 4u; count != 0u; --count) {
        const int32_t sum =
            lower_added(region.first_factor, (uint32_t)*first++ << 8, region.constant);
        *output++ = output_of(lower_added(region.second_factor, (uint32_t)*second++ << 8, sum));
    }
    tesla_clamp_outputs(region.activation_min, region.activation_max, start, region.size);
}
