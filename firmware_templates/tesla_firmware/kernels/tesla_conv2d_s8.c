/* Convolution, int8: straight from the image, four output channels at a time. */
#include "tesla/dot.h"
#include "tesla/kernels.h"
#include "tesla/requantize.h"
#include "tesla/window.h"

#include <stdbool.h>

/* The taps of one output pixel that lie inside the image, and the steps from one to the next. */
typedef struct {
    uint32_t rows;
    uint32_t columns;
    uint32_t channels;  /* active, of one tap */
    uint32_t image_row; /* input elements from one image row to the next */
    uint32_t filter;    /* weights from one filter to the next */
    uint32_t filter_row;
    uint32_t full_channels; /* weights from one tap to the next */
} patch_t;

static void four_outputs(const patch_t *patch, const tesla_layer_region_t *region,
                         const int8_t *weights, const int8_t *input, int32_t sums[4]) {
    for (uint32_t y = patch->rows; y != 0u; --y) {
        const int8_t *pixel = input;
        const int8_t *tap = weights;
        for (uint32_t x = patch->columns; x != 0u; --x) {
            tesla_dot4(sums, pixel, tap, patch->filter, patch->channels, region->input_offset);
            pixel += patch->channels;
            tap += patch->full_channels;
        }
        input += patch->image_row;
        weights += patch->filter_row;
    }
}

static int32_t one_output(const patch_t *patch, const tesla_layer_region_t *region,
                          const int8_t *weights, const int8_t *input, int32_t sum) {
    for (uint32_t y = patch->rows; y != 0u; --y) {
        const int8_t *pixel = input;
        const int8_t *tap = weights;
        for (uint32_t x = patch->columns; x != 0u; --x) {
            sum = tesla_dot1(sum, pixel, tap, patch->channels, region->input_offset);
            pixel += patch->channels;
            tap += patch->full_channels;
        }
        input += patch->image_row;
        weights += patch->filter_row;
    }
    return sum;
}

/* One pixel of the output; `weights` is the first filter's first tap inside the image. */
static void one_pixel(const patch_t *patch, const tesla_layer_region_t *region,
                      const int8_t *weights, const int8_t *input, int8_t *output) {
    uint32_t out = 0;
    for (; out + 4u <= region->output_channels; out += 4u) {
        int32_t sums[4] = {region->bias[out], region->bias[out + 1u], region->bias[out + 2u],
                           region->bias[out + 3u]};
        four_outputs(patch, region, &weights[out * patch->filter], input, sums);
        tesla_finish4(region, out, sums, &output[out]);
    }
    for (; out < region->output_channels; ++out) {
        const int32_t sum =
            one_output(patch, region, &weights[out * patch->filter], input, region->bias[out]);
        output[out] = tesla_finish(region, out, sum);
    }
}

void tesla_conv2d_s8(const tesla_conv2d_t *layer, const tesla_layer_region_t *region,
                     const int8_t *input, const int8_t *weights, int8_t *output) {
    const tesla_window_t *window = &layer->window;
    patch_t patch;
    patch.image_row = (uint32_t)window->input_width * region->input_channels;
    patch.full_channels = layer->full_channels;
    patch.filter_row = window->width * patch.full_channels;
    patch.filter = window->height * patch.filter_row;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const tesla_taps_t rows = tesla_taps(y, window->stride_height, window->pad_top,
                                             window->height, 1u, window->input_height);
        for (uint32_t x = 0; x < window->output_width; ++x) {
            const tesla_taps_t columns = tesla_taps(x, window->stride_width, window->pad_left,
                                                    window->width, 1u, window->input_width);
            patch.rows = rows.end - rows.first;
            /* Taps at full width lie one after the other: then a row of them is one. */
            const uint32_t taps = columns.end - columns.first;
            const bool whole = region->input_channels == layer->full_channels;
            patch.columns = whole ? 1u : taps;
            patch.channels = whole ? taps * region->input_channels : region->input_channels;
            one_pixel(
                &patch, region,
                &weights[rows.first * patch.filter_row + columns.first * patch.full_channels],
                &input[rows.position * patch.image_row + columns.position * region->input_channels],
                output);
            output += region->output_channels;
        }
    }
}
