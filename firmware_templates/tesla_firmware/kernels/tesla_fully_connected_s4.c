/* Fully connected, int8 with weights of four bits: four outputs at a time share every input. */
#include "tesla/dot_nibbles.h"
#include "tesla/kernels.h"
#include "tesla/requantize.h"

#include <stdbool.h>

/* The last outputs, one or two, of one row of weights. */
static void last_outputs(const tesla_layer_region_t *region, uint32_t out, const int32_t sums[2],
                         int8_t *output) {
    output[out] = tesla_finish_once(region, out, region->bias[out] + sums[0]);
    if (out + 1u < region->output_channels) {
        output[out + 1u] = tesla_finish_once(region, out + 1u, region->bias[out + 1u] + sums[1]);
    }
}

void tesla_fully_connected_s4(const tesla_fully_connected_t *layer,
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
        const int8_t *group = &weights[out / 2u * row];
        const int8_t *values = input;
        for (uint32_t g = groups; g != 0u; --g) {
            tesla_nibbles_dot4(sums, values, group, row, channels, offset);
            values += channels;
            group += layer->group_channels;
        }
#pragma GCC unroll 1
        for (uint32_t i = 0; i < 4u; ++i) {
            output[out + i] = tesla_finish_once(region, out + i, sums[i]);
        }
    }
    for (; out < region->output_channels; out += 2u) {
        int32_t sums[2] = {0, 0};
        const int8_t *group = &weights[out / 2u * row];
        const int8_t *values = input;
        for (uint32_t g = groups; g != 0u; --g) {
            tesla_nibbles_dot2(sums, values, group, channels, offset);
            values += channels;
            group += layer->group_channels;
        }
        last_outputs(region, out, sums, output);
    }
}
