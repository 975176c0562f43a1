/* The frame of depthwise convolutions for Helium: 16 channels at a time, row by row.
 *
 * As many padded rows of 16 channels are kept as the window is high. */
#ifndef TESLA_HELIUM_DEPTHWISE_H
#define TESLA_HELIUM_DEPTHWISE_H

#include "tesla/helium.h"

#include <stdbool.h>

/* One line of outputs of 16 channels. The order of the members counts. */
typedef struct {
    const int8_t *weights;  /* [height][width][16] */
    const int32_t *factors; /* 16 biases, 16 multipliers, 16 shifts, in the order of the lanes */
    int8_t *output;
    uint32_t pixels; /* at least 1 */
    uint32_t pitch;  /* bytes from one output pixel to the next */
    uint32_t mask;   /* a bit for each active channel */
    int32_t zero;    /* the output's zero point */
    int32_t smallest;
    int32_t largest;
    uint32_t stride;
    const int8_t
        *rows[TESLA_HELIUM_ROWS]; /* of pixels of 16 channels, where the first window begins */
    uint32_t height;              /* of the window */
    uint32_t width;
} tesla_helium_lanes_t;

typedef void (*tesla_helium_row_t)(const tesla_helium_lanes_t *job);

/* A row of windows of 3 x 3 pixels, stride 1 or 2. */
void tesla_helium_depthwise_3x3(const tesla_helium_lanes_t *job);

/* Where the channels' constants lie: even channels first, of these every other one, and so on. */
static inline uint32_t tesla_helium_place(uint32_t channel) {
    return (channel % 2u * 2u + channel / 2u % 2u) * 4u + channel / 4u;
}

/* The output of a channel for its sum without the bias. */
static inline int8_t tesla_helium_output(const tesla_helium_lanes_t *job, uint32_t channel,
                                         int32_t sum) {
    const int32_t *factors = &job->factors[tesla_helium_place(channel)];
    const int32_t value = tesla_requantize(sum + factors[0], factors[16], (int8_t)factors[32]);
    return tesla_clamp(value + job->zero, job->smallest, job->largest);
}

/* An image as lines: its rows, or its columns; then the window is turned, too. */
typedef struct {
    tesla_window_t window;
    uint32_t pixel; /* bytes of the input from pixel to pixel of a line */
    uint32_t line;  /* ... and from line to line */
    uint32_t output_line;
    int16_t pad;
} tesla_helium_view_t;

static inline void tesla_helium_view(tesla_helium_view_t *view,
                                     const tesla_helium_depthwise_t *layer,
                                     const tesla_helium_region_t *region) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->input_channels;
    view->window = *window;
    view->pixel = channels;
    view->line = window->input_width * channels;
    view->output_line = window->output_width * channels;
    view->pad = region->pad;
    if (layer->by_columns != 0u) {
        view->window.input_height = window->input_width;
        view->window.input_width = window->input_height;
        view->window.output_height = window->output_width;
        view->window.output_width = window->output_height;
        view->window.height = window->width;
        view->window.width = window->height;
        view->window.stride_height = window->stride_width;
        view->window.stride_width = window->stride_height;
        view->window.pad_top = window->pad_left;
        view->window.pad_left = window->pad_top;
        view->pixel = view->line;
        view->line = channels;
        view->output_line = channels;
    }
}

/* The pixels of padded line `y`; what stands beside them is there already. */
static inline void tesla_helium_lanes_row(const tesla_helium_view_t *view, const int8_t *input,
                                          uint32_t lanes, uint32_t y, uint32_t width,
                                          int8_t *target) {
    const tesla_window_t *window = &view->window;
    const uint32_t line = y - window->pad_top; /* above the image it is huge */
    const uint32_t room = width - window->pad_left;
    const uint32_t pixels = window->input_width < room ? window->input_width : room;
    target += window->pad_left * TESLA_HELIUM_LANES;
    if (line < window->input_height) {
        (void)tesla_helium_pixels(target, &input[line * view->line], view->pixel, lanes, pixels);
    } else {
        tesla_helium_set(target, view->pad, pixels * TESLA_HELIUM_LANES);
    }
}

/* All outputs of up to 16 channels. `input` and `output` are the first of them. */
static inline void tesla_helium_lanes(tesla_helium_row_t kernel, tesla_helium_lanes_t *job,
                                      const tesla_helium_view_t *view, const int8_t *input,
                                      uint32_t lanes, int8_t *scratch, int8_t *output) {
    const tesla_window_t *window = &view->window;
    const uint32_t width = (window->output_width - 1u) * window->stride_width + window->width;
    const uint32_t slot = width * TESLA_HELIUM_LANES;
    uint32_t filled = 0;
    job->mask = (1u << lanes) - 1u;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const uint32_t top = y * window->stride_height;
        for (; filled < top + window->height; ++filled) {
            if (filled >= top) {
                tesla_helium_lanes_row(view, input, lanes, filled, width,
                                       scratch + filled % window->height * slot);
            }
        }
        for (uint32_t i = 0; i < window->height; ++i) {
            job->rows[i] = scratch + (top + i) % window->height * slot;
        }
        job->output = output;
        kernel(job);
        output += view->output_line;
    }
}

static inline void tesla_helium_depthwise(tesla_helium_row_t kernel,
                                          const tesla_helium_depthwise_t *layer,
                                          const tesla_helium_region_t *region, const int8_t *input,
                                          const int8_t *weights, int8_t *scratch, int8_t *output) {
    tesla_helium_view_t view;
    tesla_helium_view(&view, layer, region);
    const tesla_window_t *window = &view.window;
    const uint32_t channels = region->output_channels;
    const uint32_t width = (window->output_width - 1u) * window->stride_width + window->width;
    tesla_helium_set(scratch, view.pad, window->height * width * TESLA_HELIUM_LANES);
    tesla_helium_lanes_t job;
    job.pixels = window->output_width;
    job.pitch = layer->by_columns != 0u ? layer->window.output_width * channels : channels;
    job.zero = region->output_offset;
    job.smallest = region->activation_min;
    job.largest = region->activation_max;
    job.stride = window->stride_width;
    job.height = window->height;
    job.width = window->width;
    job.weights = weights;
    job.factors = region->channels;
    for (uint32_t done = 0; done < channels; done += TESLA_HELIUM_LANES) {
        const uint32_t left = channels - done;
        tesla_helium_lanes(kernel, &job, &view, &input[done],
                           left < TESLA_HELIUM_LANES ? left : TESLA_HELIUM_LANES, scratch,
                           &output[done]);
        job.weights += (uint32_t)window->height * window->width * TESLA_HELIUM_LANES;
        job.factors += 3u * TESLA_HELIUM_LANES;
    }
}

#endif /* TESLA_HELIUM_DEPTHWISE_H */
