/* Mean over the pixels of an image, int8, for the DSP instructions: four channels at a time. */
#include "tesla/four_sums.h"
#include "tesla/kernels.h"
#include "tesla/rescale.h"

static TESLA_NOINLINE int8_t output_of(const tesla_rescale_region_t *region, int32_t sum) {
    return tesla_rescaled(region, sum);
}

void tesla_mean_dsp(const tesla_mean_t *layer, const tesla_rescale_region_t *region,
                    const int8_t *input, int8_t *output) {
    const uint32_t channels = region->size;
    const int32_t offset = (int32_t)layer->pixels * region->input_offset;
    uint32_t c = 0;
    for (; c + 4u <= channels; c += 4u) {
        int32_t sums[4] = {offset, offset, offset, offset};
        tesla_four_sums(sums, &input[c], channels, layer->pixels);
        for (uint32_t i = 0; i < 4u; ++i) {
            output[c + i] = output_of(region, sums[i]);
        }
    }
    for (; c < channels; ++c) {
        int32_t sum = offset;
        for (uint32_t i = 0; i < layer->pixels; ++i) {
            sum += input[i * channels + c];
        }
        output[c] = output_of(region, sum);
    }
}
