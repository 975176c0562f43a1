/* Addition, int8, for Helium: four elements at a time. */
#include "tesla/helium.h"
#include "tesla/kernels.h"

enum {
    LEFT_SHIFT = 20
}; /* room for both scalings to round finely */

#if TESLA_HELIUM
/* Rounds twice. `away` is -1, or 0 where nothing is shifted: then halves have nowhere to go. */
static inline int32x4_t scaled(int32x4_t value, int32_t multiplier, int32_t shift, int32x4_t away) {
    const int32x4_t high = vqrdmulhq_n_s32(value, multiplier);
    const int32x4_t lower = vaddq_s32(high, vandq_s32(vshrq_n_s32(high, 31), away));
    return vrshlq_n_s32(lower, shift);
}

static inline int32x4_t away(int32_t shift) {
    return vdupq_n_s32(shift < 0 ? -1 : 0);
}

/* `halved`: the first factor is one half, as that of the larger scale usually is. Nothing is lost
 * by it, so one shift replaces it. */
static inline void add(const tesla_add_region_t *region, const int8_t *first, const int8_t *second,
                       int8_t *output, bool halved) {
    const int32x4_t first_away = away(region->first_shift);
    const int32x4_t second_away = away(region->second_shift);
    const int32x4_t output_away = away(region->output_shift);
    const int32x4_t smallest = vdupq_n_s32(region->activation_min);
    const int32x4_t largest = vdupq_n_s32(region->activation_max);
    for (int32_t left = (int32_t)region->size; left > 0; left -= 4) {
        const mve_pred16_t active = vctp32q((uint32_t)left);
        const int32x4_t a = vaddq_n_s32(vldrbq_z_s32(first, active), region->first_offset);
        const int32x4_t b = vaddq_n_s32(vldrbq_z_s32(second, active), region->second_offset);
        const int32x4_t part = halved ? vshlq_n_s32(a, LEFT_SHIFT - 1)
                                      : scaled(vshlq_n_s32(a, LEFT_SHIFT), region->first_multiplier,
                                               region->first_shift, first_away);
        const int32x4_t other = scaled(vshlq_n_s32(b, LEFT_SHIFT), region->second_multiplier,
                                       region->second_shift, second_away);
        const int32x4_t value =
            vaddq_n_s32(scaled(vaddq_s32(part, other), region->output_multiplier,
                               region->output_shift, output_away),
                        region->output_offset);
        vstrbq_p_s32(output, vminq_s32(vmaxq_s32(value, smallest), largest), active);
        first += 4;
        second += 4;
        output += 4;
    }
}

void tesla_add_helium(const tesla_add_region_t *region, const int8_t *first, const int8_t *second,
                      int8_t *output) {
    const int32_t half = (int32_t)1 << 30;
    tesla_add_region_t turned = *region;
    if (region->first_multiplier == half && region->first_shift == 0) {
        add(region, first, second, output, true);
    } else if (region->second_multiplier == half && region->second_shift == 0) {
        turned.first_offset = region->second_offset;
        turned.second_offset = region->first_offset;
        turned.second_multiplier = region->first_multiplier;
        turned.second_shift = region->first_shift;
        add(&turned, second, first, output, true);
    } else {
        add(region, first, second, output, false);
    }
}
#else
void tesla_add_helium(const tesla_add_region_t *region, const int8_t *first, const int8_t *second,
                      int8_t *output) {
    const int32_t unit = (int32_t)1 << LEFT_SHIFT;
    for (uint32_t i = 0; i < region->size; ++i) {
        const int32_t sum = tesla_requantize((first[i] + region->first_offset) * unit,
                                             region->first_multiplier, region->first_shift) +
                            tesla_requantize((second[i] + region->second_offset) * unit,
                                             region->second_multiplier, region->second_shift);
        const int32_t value =
            tesla_requantize(sum, region->output_multiplier, region->output_shift);
        output[i] = tesla_clamp(value + region->output_offset, region->activation_min,
                                region->activation_max);
    }
}
#endif
