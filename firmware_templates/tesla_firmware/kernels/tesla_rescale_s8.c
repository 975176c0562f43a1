/* Change of quantisation, int8 to int8, with a clamp. */
#include "tesla/kernels.h"
#include "tesla/rescale.h"

void tesla_rescale_s8(const tesla_rescale_region_t *region, const int8_t *input, int8_t *output) {
    for (uint32_t i = 0; i < region->size; ++i) {
        output[i] = tesla_rescaled(region, input[i] + region->input_offset);
    }
}
