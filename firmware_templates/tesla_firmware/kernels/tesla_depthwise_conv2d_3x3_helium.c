/* Depthwise convolution of 3 x 3 pixels, stride 1 or 2, int8, for Helium. */
#include "tesla/helium_depthwise.h"
#include "tesla/kernels.h"

void tesla_depthwise_conv2d_3x3_helium(const tesla_helium_depthwise_t *layer,
                                       const tesla_helium_region_t *region, const int8_t *input,
                                       const int8_t *weights, void *scratch, int8_t *output) {
    tesla_helium_depthwise(tesla_helium_depthwise_3x3, layer, region, input, weights,
                           (int8_t *)scratch, output);
}
