/* Depthwise convolution, int8 with weights of four bits: one output at a time. */
#include "tesla/kernels.h"
#include "tesla/nibbles.h"
#include "tesla/requantize.h"
#include "tesla/window.h"

#include <stdbool.h>

/* The taps of one output pixel that lie inside the image, and the steps from one to the next. */
typedef struct {
    uint32_t rows;
    uint32_t columns;
    uint32_t pixel;     /* input elements from one tap to the next */
    uint32_t image_row; /* input elements from one row of taps to the next */
    uint32_t filter_row;
} patch_t;

/* `odd` says which of the two filters that share the bytes at `weights`. */
static int32_t one_output(const patch_t *patch, const int8_t *input, const int8_t *weights,
                          bool odd, int32_t offset, int32_t sum) {
    for (uint32_t y = patch->rows; y != 0u; --y) {
        const int8_t *pixel = input;
        const int8_t *tap = weights;
        for (uint32_t x = patch->columns; x != 0u; --x) {
            const int32_t pair = *tap++;
            sum += (*pixel + offset) * (odd ? tesla_nibbles_odd(pair) : tesla_nibbles_even(pair));
            pixel += patch->pixel;
        }
        input += patch->image_row;
        weights += patch->filter_row;
    }
    return sum;
}

void tesla_depthwise_conv2d_s4(const tesla_depthwise_conv2d_t *layer,
                               const tesla_layer_region_t *region, const int8_t *input,
                               const int8_t *weights, int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->input_channels;
    const uint32_t image_row = window->input_width * channels;
    const uint32_t filter = (uint32_t)window->height * window->width;
    patch_t patch;
    patch.pixel = window->dilation_width * channels;
    patch.image_row = window->dilation_height * image_row;
    patch.filter_row = window->width;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const tesla_taps_t rows =
            tesla_taps(y, window->stride_height, window->pad_top, window->height,
                       window->dilation_height, window->input_height);
        for (uint32_t x = 0; x < window->output_width; ++x) {
            const tesla_taps_t columns =
                tesla_taps(x, window->stride_width, window->pad_left, window->width,
                           window->dilation_width, window->input_width);
            const int8_t *corner = &input[rows.position * image_row + columns.position * channels];
            const int8_t *taps = &weights[rows.first * window->width + columns.first];
            patch.rows = rows.end - rows.first;
            patch.columns = columns.end - columns.first;
            uint32_t out = 0;
            for (uint32_t c = 0; c < channels; ++c) {
                for (uint32_t m = 0; m < layer->multiplier; ++m) {
                    const int32_t sum =
                        one_output(&patch, &corner[c], &taps[out / 2u * filter], out % 2u != 0u,
                                   region->input_offset, region->bias[out]);
                    *output++ = tesla_finish(region, out, sum);
                    ++out;
                }
            }
        }
    }
}
