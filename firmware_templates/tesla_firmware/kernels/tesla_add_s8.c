/* Addition, int8. */
#include "tesla/kernels.h"
#include "tesla/requantize.h"

enum {
    LEFT_SHIFT = 20
}; /* room for both scalings to round finely */

void tesla_add_s8(const tesla_add_region_t *region, const int8_t *first, const int8_t *second,
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
