/* Convolution of few input channels, int8, for the DSP instructions: the taps of a pixel lie one
 * after the other, so that no quad of inputs is wasted on three channels. */
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const tesla_window_t *window;
    const int8_t *input;
    uint32_t channels;
    uint32_t length; /* bytes of a row of taps */
    int8_t zero;
} image_t;

/* Copies any number of bytes, four at a time where there are four. */
static void copy_row(int8_t *to, const int8_t *from, uint32_t length) {
    if (length == 9u) { /* three taps of three channels */
        tesla_copy(to, from, 9);
        return;
    }
    while (length >= 4u) {
        tesla_copy(to, from, 4);
        to += 4;
        from += 4;
        length -= 4u;
    }
#pragma GCC unroll 1
    while (length-- != 0u) {
        *to++ = *from++;
    }
}

/* A row of taps of which some lie beside the image. */
static TESLA_NOINLINE void border_row(const image_t *image, int8_t *to, const int8_t *row,
                                      int32_t x) {
    for (uint32_t tap = 0; tap < image->window->width; ++tap) {
        const uint32_t column = (uint32_t)x + tap;
        const bool inside = row != NULL && column < image->window->input_width;
        const int8_t *pixel = inside ? &row[column * image->channels] : NULL;
#pragma GCC unroll 1
        for (uint32_t c = 0; c < image->channels; ++c) {
            *to++ = pixel != NULL ? pixel[c] : image->zero;
        }
    }
}

/* All taps of the output pixel `y`, `x`. */
static void gather(const image_t *image, int8_t *to, uint32_t y, uint32_t x) {
    const tesla_window_t *window = image->window;
    const int32_t left = (int32_t)(x * window->stride_width) - window->pad_left;
    const bool across = left >= 0 && left + window->width <= window->input_width;
    uint32_t line = y * window->stride_height - window->pad_top; /* wraps around above the image */
    const uint32_t pitch = window->input_width * image->channels;
    const uint32_t apart = pitch * window->dilation_height;
    const uint32_t last = line + ((uint32_t)window->height - 1u) * window->dilation_height;
    if (across && line < window->input_height && last < window->input_height) {
        const int8_t *row = &image->input[line * pitch + (uint32_t)left * image->channels];
        for (uint32_t tap = window->height; tap != 0u; --tap) {
            copy_row(to, row, image->length);
            to += image->length;
            row += apart;
        }
        return;
    }
    for (uint32_t tap = window->height; tap != 0u; --tap) {
        const bool inside = line < window->input_height;
        const int8_t *row = inside ? &image->input[line * pitch] : NULL;
        if (inside && across) {
            copy_row(to, &row[(uint32_t)left * image->channels], image->length);
        } else {
            border_row(image, to, row, left);
        }
        to += image->length;
        line += window->dilation_height;
    }
}

void tesla_conv2d_flat_dsp(const tesla_conv2d_t *layer, const tesla_packed_region_t *region,
                           const int8_t *input, const int8_t *weights, void *scratch,
                           int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t length = (uint32_t)window->width * layer->full_channels;
    const uint32_t quads = (window->height * length + 3u) / 4u;
    const uint32_t pixels = (uint32_t)window->output_height * window->output_width;
    int16_t *const wide = (int16_t *)scratch;
    int8_t *const patches = (int8_t *)&wide[quads * 8u];
    const image_t image = {window, input, layer->full_channels, length,
                           (int8_t)-region->input_offset};
    tesla_fill(patches, 0, quads * 8u); /* weights of what fills the last quad up are zero */
    tesla_pair_t pair;
    pair.input = wide;
    pair.weights = weights;
    pair.channels = region->channels;
    pair.column = 0;
    pair.quads = quads;
    pair.pitch = quads * 16u;
    int8_t *next = output;
    uint32_t x = 0;
    uint32_t y = 0;
    for (uint32_t done = 0; done < pixels; done += 2u) {
        for (uint32_t i = 0; i < 2u && done + i < pixels; ++i) {
            gather(&image, &patches[i * quads * 4u], y, x);
            if (++x == window->output_width) {
                x = 0;
                ++y;
            }
        }
        /* The last of an odd number of pixels is computed twice. */
        const bool two = done + 1u < pixels;
        tesla_widen_two(wide, patches, two ? &patches[quads * 4u] : patches, quads * 4u,
                        region->input_offset, 8);
        pair.first = next;
        pair.second = two ? next + region->output_channels : next;
        tesla_pair_channels(&pair, region->output_channels, tesla_pair_dsp);
        next = pair.second + region->output_channels;
    }
    tesla_clamp_outputs(region, output, pixels * region->output_channels);
}
