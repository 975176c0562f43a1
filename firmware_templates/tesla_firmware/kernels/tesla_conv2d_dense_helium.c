/* Convolution whose input channels are all active, int8, for Helium: the taps of a patch lie one
 * behind the other without gaps, so that few channels waste nothing. */
#include "tesla/helium_window.h"
#include "tesla/kernels.h"

static void fill_row(const tesla_helium_image_t *image, uint32_t y, int8_t *target) {
    const tesla_window_t *window = image->window;
    const uint32_t row = y - window->pad_top; /* above the image it is huge */
    const uint32_t row_bytes = image->width * image->channels;
    if (row >= window->input_height) {
        tesla_helium_set(target, image->pad, row_bytes);
        return;
    }
    const uint32_t bytes = window->input_width * image->channels;
    const uint32_t before = window->pad_left * image->channels;
    const uint32_t room = row_bytes - before;
    tesla_helium_set(target, image->pad, before);
    tesla_helium_copy(target + before, &image->input[row * bytes], bytes < room ? bytes : room);
    if (bytes < room) {
        tesla_helium_set(target + before + bytes, image->pad, room - bytes);
    }
}

void tesla_conv2d_dense_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                               const int8_t *input, const int8_t *weights, void *scratch,
                               int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const tesla_helium_image_t image = {window,
                                        input,
                                        region->input_channels,
                                        1,
                                        region->input_channels,
                                        (window->output_width - 1u) * window->stride_width +
                                            window->width,
                                        region->pad};
    tesla_helium_convolve(&image, region, fill_row, weights, 1, (int8_t *)scratch, output);
}
