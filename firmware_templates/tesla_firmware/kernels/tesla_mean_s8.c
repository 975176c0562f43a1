/* Mean over the pixels of an image, int8. */
#include "tesla/kernels.h"
#include "tesla/rescale.h"

void tesla_mean_s8(const tesla_mean_t *layer, const tesla_rescale_region_t *region,
                   const int8_t *input, int8_t *output) {
    for (uint32_t c = 0; c < region->size; ++c) {
        const int8_t *value = &input[c];
        int32_t sum = 0;
        for (uint32_t i = layer->pixels; i != 0u; --i) {
            sum += *value + region->input_offset;
            value += region->size;
        }
        output[c] = tesla_rescaled(region, sum);
    }
}
