/* Depthwise convolution, int8, over an input of several parts. */
#include "tesla/depthwise.h"
#include "tesla/kernels.h"

void tesla_depthwise_conv2d_parts_s8(const tesla_depthwise_conv2d_t *layer,
                                     const tesla_layer_region_t *region, const tesla_part_t *parts,
                                     uint32_t count, const int8_t *input, const int8_t *weights,
                                     int8_t *output) {
    tesla_depthwise_image(layer, region, parts, count, input, weights, output);
}
