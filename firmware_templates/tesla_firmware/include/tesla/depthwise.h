/* The body of depthwise convolutions. */
#ifndef TESLA_DEPTHWISE_H
#define TESLA_DEPTHWISE_H

#include "tesla/layers.h"
#include "tesla/requantize.h"
#include "tesla/window.h"

/* The taps of one output pixel that lie inside the image, and the steps from one to the next. */
typedef struct {
    uint32_t rows;
    uint32_t columns;
    uint32_t pixel;     /* input elements from one tap to the next */
    uint32_t image_row; /* input elements from one row of taps to the next */
    uint32_t filter_row;
} tesla_depthwise_patch_t;

static inline int32_t tesla_depthwise_sum(const tesla_depthwise_patch_t *patch, const int8_t *input,
                                          const int8_t *weights, int32_t offset, int32_t sum) {
    for (uint32_t y = patch->rows; y != 0u; --y) {
        const int8_t *pixel = input;
        const int8_t *tap = weights;
        for (uint32_t x = patch->columns; x != 0u; --x) {
            sum += (*pixel + offset) * *tap++;
            pixel += patch->pixel;
        }
        input += patch->image_row;
        weights += patch->filter_row;
    }
    return sum;
}

/* All channels of one pixel: `input` is the first channel of the first tap inside the image,
 * `weights` the same tap of the first filter. Between two parts the filters of channels that are
 * not active are left out. */
static inline void
tesla_depthwise_pixel(const tesla_depthwise_conv2d_t *layer, const tesla_layer_region_t *region,
                      const tesla_depthwise_patch_t *patch, const tesla_part_t *parts,
                      uint32_t count, const int8_t *input, const int8_t *weights, int8_t *output) {
    const uint32_t filter = (uint32_t)layer->window.height * layer->window.width;
    uint32_t out = 0;
    for (uint32_t p = 0; p < count; ++p) {
        for (uint32_t c = 0; c < parts[p].active; ++c) {
            for (uint32_t m = 0; m < layer->multiplier; ++m) {
                const int32_t sum = tesla_depthwise_sum(patch, input, weights, region->input_offset,
                                                        region->bias[out]);
                output[out] = tesla_finish(region, out, sum);
                weights += filter;
                ++out;
            }
            ++input;
        }
        weights += (uint32_t)(parts[p].full - parts[p].active) * layer->multiplier * filter;
    }
}

static inline void tesla_depthwise_image(const tesla_depthwise_conv2d_t *layer,
                                         const tesla_layer_region_t *region,
                                         const tesla_part_t *parts, uint32_t count,
                                         const int8_t *input, const int8_t *weights,
                                         int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->input_channels;
    const uint32_t image_row = window->input_width * channels;
    tesla_depthwise_patch_t patch;
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
            patch.rows = rows.end - rows.first;
            patch.columns = columns.end - columns.first;
            tesla_depthwise_pixel(layer, region, &patch, parts, count,
                                  &input[rows.position * image_row + columns.position * channels],
                                  &weights[rows.first * patch.filter_row + columns.first], output);
            output += region->output_channels;
        }
    }
}

#endif /* TESLA_DEPTHWISE_H */
