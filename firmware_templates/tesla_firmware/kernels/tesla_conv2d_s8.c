/* Convolution, int8: straight from the image, four output channels at a time. */
#include "tesla/kernels.h"
#include "tesla/requantize.h"
#include "tesla/window.h"

#define FILTERS 4u

/* The taps of one output pixel that lie inside the image, and the channels of each. */
typedef struct {
    tesla_taps_t rows;
    tesla_taps_t columns;
    const int8_t *pixel;   /* of the first tap */
    uint32_t image_row;    /* input elements from one image row to the next */
    uint32_t filter;       /* weights from one filter to the next */
    uint32_t filter_row;   /* weights from one window row to the next */
    uint32_t filter_pixel; /* weights from one tap to the next: the full input width */
} patch_t;

static void four_outputs(const patch_t *patch, const tesla_layer_region_t *region,
                         const int8_t *weights, uint32_t channel, int8_t *output) {
    const uint32_t channels = region->input_channels;
    const int32_t offset = region->input_offset;
    int32_t sum0 = region->bias[channel];
    int32_t sum1 = region->bias[channel + 1u];
    int32_t sum2 = region->bias[channel + 2u];
    int32_t sum3 = region->bias[channel + 3u];
    const int8_t *filter = &weights[channel * patch->filter];
    const int8_t *row = patch->pixel;
    for (uint32_t y = patch->rows.first; y < patch->rows.end; ++y) {
        const int8_t *input = row;
        for (uint32_t x = patch->columns.first; x < patch->columns.end; ++x) {
            const int8_t *tap0 = &filter[y * patch->filter_row + x * patch->filter_pixel];
            const int8_t *tap1 = tap0 + patch->filter;
            const int8_t *tap2 = tap1 + patch->filter;
            const int8_t *tap3 = tap2 + patch->filter;
            for (uint32_t i = 0; i < channels; ++i) {
                const int32_t value = *input++ + offset;
                sum0 += value * *tap0++;
                sum1 += value * *tap1++;
                sum2 += value * *tap2++;
                sum3 += value * *tap3++;
            }
        }
        row += patch->image_row;
    }
    output[0] = tesla_finish(region, channel, sum0);
    output[1] = tesla_finish(region, channel + 1u, sum1);
    output[2] = tesla_finish(region, channel + 2u, sum2);
    output[3] = tesla_finish(region, channel + 3u, sum3);
}

static int8_t one_output(const patch_t *patch, const tesla_layer_region_t *region,
                         const int8_t *weights, uint32_t channel) {
    const uint32_t channels = region->input_channels;
    const int32_t offset = region->input_offset;
    int32_t sum = region->bias[channel];
    const int8_t *filter = &weights[channel * patch->filter];
    const int8_t *row = patch->pixel;
    for (uint32_t y = patch->rows.first; y < patch->rows.end; ++y) {
        const int8_t *input = row;
        for (uint32_t x = patch->columns.first; x < patch->columns.end; ++x) {
            const int8_t *tap = &filter[y * patch->filter_row + x * patch->filter_pixel];
            for (uint32_t i = 0; i < channels; ++i) {
                sum += (*input++ + offset) * tap[i];
            }
        }
        row += patch->image_row;
    }
    return tesla_finish(region, channel, sum);
}

void tesla_conv2d_s8(const tesla_conv2d_t *layer, const tesla_layer_region_t *region,
                     const int8_t *weights, const int8_t *input, int8_t *output) {
    const tesla_window_t *window = &layer->window;
    patch_t patch;
    patch.image_row = (uint32_t)window->input_width * region->input_channels;
    patch.filter_pixel = layer->full_channels;
    patch.filter_row = window->width * patch.filter_pixel;
    patch.filter = window->height * patch.filter_row;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        patch.rows = tesla_taps(y, window->stride_height, window->pad_top, window->height,
                                window->input_height);
        for (uint32_t x = 0; x < window->output_width; ++x) {
            patch.columns = tesla_taps(x, window->stride_width, window->pad_left, window->width,
                                       window->input_width);
            patch.pixel = &input[patch.rows.position * patch.image_row +
                                 patch.columns.position * region->input_channels];
            uint32_t channel = 0;
            for (; channel + FILTERS <= region->output_channels; channel += FILTERS) {
                four_outputs(&patch, region, weights, channel, &output[channel]);
            }
            for (; channel < region->output_channels; ++channel) {
                output[channel] = one_output(&patch, region, weights, channel);
            }
            output += region->output_channels;
        }
    }
}
