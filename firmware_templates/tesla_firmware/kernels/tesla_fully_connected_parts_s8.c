/* Fully connected, int8, over an input of several parts. */
#include "tesla/kernels.h"
#include "tesla/parts.h"

void tesla_fully_connected_parts_s8(const tesla_fully_connected_t *layer,
                                    const tesla_layer_region_t *region, const tesla_part_t *parts,
                                    uint32_t count, const int8_t *input, const int8_t *weights,
                                    int8_t *output) {
    tesla_patch_t patch;
    patch.parts = parts;
    patch.count = count;
    patch.rows = 1;
    patch.columns = layer->groups;
    patch.pixel = region->input_channels;
    patch.image_row = 0;
    patch.tap = layer->group_channels;
    patch.filter_row = 0;
    patch.filter = (uint32_t)layer->groups * layer->group_channels;
    patch.once = true;
    tesla_patch_outputs(&patch, region, input, weights, output);
}
