/* Depthwise convolution of any window, int8, for Helium. */
#include "tesla/helium_depthwise.h"
#include "tesla/kernels.h"

#if TESLA_HELIUM
static inline int32x4_t requantized(int32x4_t sum, const int32_t *factors) {
    const int32x4_t high =
        vqrdmulhq_s32(vaddq_s32(sum, vldrwq_s32(factors)), vldrwq_s32(factors + 16));
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), vldrwq_s32(factors + 32));
}

static inline int16x8_t halves(int32x4_t even, int32x4_t odd, int32_t zero) {
    const int16x8_t values = vqmovnbq_s32(vdupq_n_s16(0), even);
    return vqaddq_n_s16(vqmovntq_s32(values, odd), (int16_t)zero);
}

static void one_pixel(const tesla_helium_lanes_t *job, uint32_t x, int8_t *output) {
    int32x4_t sums[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    const int8_t *weights = job->weights;
    for (uint32_t i = 0; i < job->height; ++i) {
        const int8_t *pixel = job->rows[i] + x * job->stride * TESLA_HELIUM_LANES;
        for (uint32_t j = job->width; j != 0u; --j) {
            const int8x16_t values = vldrbq_s8(pixel);
            const int8x16_t factors = vldrbq_s8(weights);
            const int16x8_t even = vmullbq_int_s8(values, factors);
            const int16x8_t odd = vmulltq_int_s8(values, factors);
            sums[0] = vaddq_s32(sums[0], vmovlbq_s16(even));
            sums[1] = vaddq_s32(sums[1], vmovltq_s16(even));
            sums[2] = vaddq_s32(sums[2], vmovlbq_s16(odd));
            sums[3] = vaddq_s32(sums[3], vmovltq_s16(odd));
            pixel += TESLA_HELIUM_LANES;
            weights += TESLA_HELIUM_LANES;
        }
    }
    const int16x8_t even = halves(requantized(sums[0], job->factors),
                                  requantized(sums[1], job->factors + 4), job->zero);
    const int16x8_t odd = halves(requantized(sums[2], job->factors + 8),
                                 requantized(sums[3], job->factors + 12), job->zero);
    const int8x16_t bytes = vqmovntq_s16(vqmovnbq_s16(vdupq_n_s8(0), even), odd);
    const int8x16_t low = vmaxq_s8(bytes, vdupq_n_s8((int8_t)job->smallest));
    vstrbq_p_s8(output, vminq_s8(low, vdupq_n_s8((int8_t)job->largest)), (mve_pred16_t)job->mask);
}
#else
static void one_pixel(const tesla_helium_lanes_t *job, uint32_t x, int8_t *output) {
    for (uint32_t channel = 0; (job->mask >> channel & 1u) != 0u; ++channel) {
        int32_t sum = 0;
        for (uint32_t tap = 0; tap < job->height * job->width; ++tap) {
            const uint32_t pixel = x * job->stride + tap % job->width;
            sum += job->rows[tap / job->width][pixel * TESLA_HELIUM_LANES + channel] *
                   job->weights[tap * TESLA_HELIUM_LANES + channel];
        }
        output[channel] = tesla_helium_output(job, channel, sum);
    }
}
#endif

static void one_row(const tesla_helium_lanes_t *job) {
    for (uint32_t x = 0; x < job->pixels; ++x) {
        one_pixel(job, x, &job->output[x * job->pitch]);
    }
}

void tesla_depthwise_conv2d_helium(const tesla_helium_depthwise_t *layer,
                                   const tesla_helium_region_t *region, const int8_t *input,
                                   const int8_t *weights, void *scratch, int8_t *output) {
    tesla_helium_depthwise(one_row, layer, region, input, weights, (int8_t *)scratch, output);
}
