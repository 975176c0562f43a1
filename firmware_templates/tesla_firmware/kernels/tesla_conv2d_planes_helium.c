/* Convolution of a window without dilation, int8, for Helium: its rows are kept as planes of 16
 * channels, and so are the taps of a patch: leading channels come first. */
#include "tesla/helium_window.h"
#include "tesla/kernels.h"

void tesla_conv2d_planes_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                                const int8_t *input, const int8_t *weights, void *scratch,
                                int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const tesla_helium_image_t image = {window,
                                        input,
                                        region->input_channels,
                                        tesla_helium_blocks(region->input_channels),
                                        TESLA_HELIUM_LANES,
                                        (window->output_width - 1u) * window->stride_width +
                                            window->width,
                                        region->pad};
    tesla_helium_convolve(&image, region, tesla_helium_fill_planes, weights,
                          tesla_helium_blocks(layer->full_channels), (int8_t *)scratch, output);
}
