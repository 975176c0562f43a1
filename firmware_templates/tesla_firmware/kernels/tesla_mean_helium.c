/* Mean over the pixels of an image, int8, for Helium: four channels at a time. */
#include "tesla/helium.h"
#include "tesla/kernels.h"
#include "tesla/rescale.h"

#if TESLA_HELIUM
void tesla_mean_helium(const tesla_mean_t *layer, const tesla_rescale_region_t *region,
                       const int8_t *input, int8_t *output) {
    const int32_t left_shift = region->shift > 0 ? region->shift : 0;
    const int32_t right_shift = region->shift < 0 ? region->shift : 0;
    const int32x4_t away = vdupq_n_s32(right_shift < 0 ? -1 : 0); /* halves, when shifted */
    const int32_t offset = (int32_t)layer->pixels * region->input_offset;
    for (uint32_t c = 0; c < region->size; c += 4u) {
        const mve_pred16_t active = vctp32q(region->size - c);
        const int8_t *value = &input[c];
        int32x4_t sum = vdupq_n_s32(offset);
        for (uint32_t i = layer->pixels; i != 0u; --i) {
            sum = vaddq_s32(sum, vldrbq_z_s32(value, active));
            value += region->size;
        }
        const int32x4_t high = vqrdmulhq_n_s32(vshlq_r_s32(sum, left_shift), region->multiplier);
        const int32x4_t lower = vaddq_s32(high, vandq_s32(vshrq_n_s32(high, 31), away));
        const int32x4_t scaled =
            vaddq_n_s32(vrshlq_n_s32(lower, right_shift), region->output_offset);
        const int32x4_t low = vmaxq_s32(scaled, vdupq_n_s32(region->activation_min));
        vstrbq_p_s32(&output[c], vminq_s32(low, vdupq_n_s32(region->activation_max)), active);
    }
}
#else
void tesla_mean_helium(const tesla_mean_t *layer, const tesla_rescale_region_t *region,
                       const int8_t *input, int8_t *output) {
    for (uint32_t c = 0; c < region->size; ++c) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < layer->pixels; ++i) {
            sum += input[i * region->size + c] + region->input_offset;
        }
        output[c] = tesla_rescaled(region, sum);
    }
}
#endif
