/* Fully connected, int8: four outputs at a time share every input that is loaded. */
#include "tesla/dot.h"
#include "tesla/kernels.h"
#include "tesla/requantize.h"

#include <stdbool.h>

void tesla_fully_connected_s8(const tesla_fully_connected_t *layer,
                              const tesla_layer_region_t *region, const int8_t *input,
                              const int8_t *weights, int8_t *output) {
    /* Groups at full width lie one after the other: then they are one. */
    const bool whole = region->input_channels == layer->group_channels;
    const uint32_t groups = whole ? 1u : layer->groups;
    const uint32_t channels = (uint32_t)region->input_channels * (layer->groups / groups);
    const uint32_t row = (uint32_t)layer->groups * layer->group_channels;
    const int32_t offset = region->input_offset;
    uint32_t out = 0;
    for (; out + 4u <= region->output_channels; out += 4u) {
        int32_t sums[4] = {region->bias[out], region->bias[out + 1u], region->bias[out + 2u],
                           region->bias[out + 3u]};
        const int8_t *group = &weights[out * row];
        const int8_t *values = input;
        for (uint32_t g = groups; g != 0u; --g) {
            tesla_dot4(sums, values, group, row, channels, offset);
            values += channels;
            group += layer->group_channels;
        }
#pragma GCC unroll 1
        for (uint32_t i = 0; i < 4u; ++i) {
            output[out + i] = tesla_finish_once(region, out + i, sums[i]);
        }
    }
    for (; out < region->output_channels; ++out) {
        int32_t sum = region->bias[out];
        const int8_t *group = &weights[out * row];
        const int8_t *values = input;
        for (uint32_t g = groups; g != 0u; --g) {
            sum = tesla_dot1(sum, values, group, channels, offset);
            values += channels;
            group += layer->group_channels;
        }
        output[out] = tesla_finish_once(region, out, sum);
    }
}
