/* Depthwise convolution, int8: straight from the image, one output at a time. */
#include "tesla/depthwise.h"
#include "tesla/kernels.h"

void tesla_depthwise_conv2d_s8(const tesla_depthwise_conv2d_t *layer,
                               const tesla_layer_region_t *region, const int8_t *input,
                               const int8_t *weights, int8_t *output) {
    const tesla_part_t all = {region->input_channels, region->input_channels};
    tesla_depthwise_image(layer, region, &all, 1, input, weights, output);
}
