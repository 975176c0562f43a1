/* Convolution of one tap without padding, int8, for the DSP instructions: two pixels at a time, row
 * after row, over packed weights. */
#include "tesla/clamp.h"
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stddef.h>

typedef struct {
    tesla_pair_t pair;
    tesla_pair_rest_t rest;
    int16_t *wide;
    uint32_t channels;
    uint32_t outputs;
    int16_t offset;
} work_t;

static TESLA_NOINLINE void two_pixels(work_t *work, const int8_t *first, const int8_t *second) {
    tesla_widen_two(work->wide, first, second, work->channels, work->offset, 8);
    tesla_pair_channels(&work->pair, &work->rest, tesla_pair_dsp);
    work->pair.first += 2u * work->outputs;
    work->pair.second += 2u * work->outputs;
}

/* `step` bytes lead from one pixel to the next, `row` from one row to the next. Two pixels may be
 * the last one of a row and the first one of the next. */
static void all_pixels(work_t *work, const int8_t *line, uint32_t width, uint32_t height,
                       uint32_t step, uint32_t row) {
    const int8_t *first = NULL;
    for (; height != 0u; --height) {
        const int8_t *next = line;
        for (uint32_t left = width; left != 0u; --left) {
            if (first == NULL) {
                first = next;
            } else {
                two_pixels(work, first, next);
                first = NULL;
            }
            next += step;
        }
        line += row;
    }
    if (first != NULL) { /* the last of an odd number is computed twice */
        work->pair.second = work->pair.first;
        two_pixels(work, first, first);
    }
}

void tesla_conv2d_1x1_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                          const int8_t *input, const int8_t *weights, void *scratch,
                          int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->input_channels;
    const uint32_t outputs = region->output_channels;
    const uint32_t pixels = (uint32_t)window->output_height * window->output_width;
    const uint32_t step = window->stride_width * channels;
    const uint32_t row = window->stride_height * window->input_width * channels;
    work_t work;
    work.wide = (int16_t *)scratch;
    work.channels = channels;
    work.outputs = outputs;
    work.offset = (int16_t)-region->input_zero;
    tesla_pair_begin(&work.pair, region, weights);
    tesla_pair_quads(&work.pair, (layer->full_channels + 3u) / 4u, (channels + 3u) / 4u);
    tesla_pair_set_rest(&work.rest, &work.pair, outputs);
    work.pair.input = work.wide;
    work.pair.first = output;
    work.pair.second = output + outputs;
    if (step * window->output_width == row) { /* every pixel: the image is one row */
        all_pixels(&work, input, pixels, 1, step, 0);
    } else {
        all_pixels(&work, input, window->output_width, window->output_height, step, row);
    }
    tesla_clamp_outputs(region->activation_min, region->activation_max, output, pixels * outputs);
}
