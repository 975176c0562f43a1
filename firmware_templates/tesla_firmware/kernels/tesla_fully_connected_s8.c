/* Fully connected, int8: four outputs at a time share every input that is loaded. */
#include "tesla/kernels.h"
#include "tesla/requantize.h"

#define ROWS 4u

static void four_outputs(const tesla_fully_connected_t *layer, const tesla_layer_region_t *region,
                         const int8_t *weights, const int8_t *input, uint32_t channel,
                         int8_t *output) {
    const uint32_t row = (uint32_t)layer->groups * layer->group_channels;
    const int32_t offset = region->input_offset;
    int32_t sum0 = region->bias[channel];
    int32_t sum1 = region->bias[channel + 1u];
    int32_t sum2 = region->bias[channel + 2u];
    int32_t sum3 = region->bias[channel + 3u];
    const int8_t *group = &weights[channel * row];
    for (uint32_t g = 0; g < layer->groups; ++g) {
        const int8_t *row0 = group;
        const int8_t *row1 = row0 + row;
        const int8_t *row2 = row1 + row;
        const int8_t *row3 = row2 + row;
        for (uint32_t i = 0; i < region->input_channels; ++i) {
            const int32_t value = *input++ + offset;
            sum0 += value * *row0++;
            sum1 += value * *row1++;
            sum2 += value * *row2++;
            sum3 += value * *row3++;
        }
        group += layer->group_channels;
    }
    output[0] = tesla_finish(region, channel, sum0);
    output[1] = tesla_finish(region, channel + 1u, sum1);
    output[2] = tesla_finish(region, channel + 2u, sum2);
    output[3] = tesla_finish(region, channel + 3u, sum3);
}

static int8_t one_output(const tesla_fully_connected_t *layer, const tesla_layer_region_t *region,
                         const int8_t *weights, const int8_t *input, uint32_t channel) {
    const uint32_t row = (uint32_t)layer->groups * layer->group_channels;
    const int32_t offset = region->input_offset;
    int32_t sum = region->bias[channel];
    const int8_t *group = &weights[channel * row];
    for (uint32_t g = 0; g < layer->groups; ++g) {
        for (uint32_t i = 0; i < region->input_channels; ++i) {
            sum += (*input++ + offset) * group[i];
        }
        group += layer->group_channels;
    }
    return tesla_finish(region, channel, sum);
}

void tesla_fully_connected_s8(const tesla_fully_connected_t *layer,
                              const tesla_layer_region_t *region, const int8_t *weights,
                              const int8_t *input, int8_t *output) {
    uint32_t channel = 0;
    for (; channel + ROWS <= region->output_channels; channel += ROWS) {
        four_outputs(layer, region, weights, input, channel, &output[channel]);
    }
    for (; channel < region->output_channels; ++channel) {
        output[channel] = one_output(layer, region, weights, input, channel);
    }
}
