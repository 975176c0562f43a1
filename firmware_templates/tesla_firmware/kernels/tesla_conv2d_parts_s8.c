/* Convolution, int8, over an input of several parts or with a dilated window. */
#include "tesla/kernels.h"
#include "tesla/parts.h"
#include "tesla/window.h"

void tesla_conv2d_parts_s8(const tesla_conv2d_t *layer, const tesla_layer_region_t *region,
                           const tesla_part_t *parts, uint32_t count, const int8_t *input,
                           const int8_t *weights, int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->input_channels;
    const uint32_t image_row = window->input_width * channels;
    tesla_patch_t patch;
    patch.parts = parts;
    patch.count = count;
    patch.pixel = window->dilation_width * channels;
    patch.image_row = window->dilation_height * image_row;
    patch.tap = layer->full_channels;
    patch.filter_row = window->width * patch.tap;
    patch.filter = window->height * patch.filter_row;
    patch.once = false;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const tesla_taps_t rows =
            tesla_taps(y, window->stride_height, window->pad_top, window->height,
                       window->dilation_height, window->input_height);
        for (uint32_t x = 0; x < window->output_width; ++x) {
            const tesla_taps_t columns =
                tesla_taps(x, window->stride_width, window->pad_left, window->width,
                           window->dilation_width, window->input_width);
            patch.rows = rows.end - rows.first;
            patch.columns = columns.end - columns.first;
            tesla_patch_outputs(
                &patch, region, &input[rows.position * image_row + columns.position * channels],
                &weights[rows.first * patch.filter_row + columns.first * patch.tap], output);
            output += region->output_channels;
        }
    }
}
