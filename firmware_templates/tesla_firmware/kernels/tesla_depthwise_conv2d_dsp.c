/* Depthwise convolution, 3 by 3 taps, int8, for the DSP instructions: four channels at a time
 * become planes of int16, of which each is filtered with its taps in registers. */
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/plane.h"
#include "tesla/widen.h"

#include <stddef.h>

/* An axis of the image: along a line of the plane, or across the lines. */
typedef struct {
    uint32_t input;  /* pixels */
    uint32_t output; /* pixels */
    uint32_t pad;
    uint32_t step;    /* input elements from one pixel to the next */
    uint32_t outputs; /* output elements from one pixel to the next */
} axis_t;

/* The bytes of four channels, or of the last ones and zero points. */
typedef struct {
    const int8_t *input;
    uint32_t channels; /* 1 .. 4 */
    int8_t zero;
} group_t;

static inline uint32_t four_channels(const group_t *group, const axis_t *along, const int8_t *line,
                                     uint32_t at) {
    if (at >= along->input) {
        return (uint8_t)group->zero * 0x01010101u;
    }
    const int8_t *pixel = &line[at * along->step];
    return tesla_some(pixel, group->channels, group->zero);
}

/* Puts two neighbouring pixels into the four planes, which lie `size` elements apart. */
static inline void spread(int16_t *plane, uint32_t size, uint32_t a, uint32_t b, uint32_t offset) {
    const uint32_t even_a = tesla_widened_even(a, offset);
    const uint32_t even_b = tesla_widened_even(b, offset);
    const uint32_t odd_a = tesla_widened_odd(a, offset);
    const uint32_t odd_b = tesla_widened_odd(b, offset);
    tesla_put(plane, tesla_lower_halves(even_a, even_b));
    plane += size;
    tesla_put(plane, tesla_lower_halves(odd_a, odd_b));
    plane += size;
    tesla_put(plane, tesla_upper_halves(even_a, even_b));
    plane += size;
    tesla_put(plane, tesla_upper_halves(odd_a, odd_b));
}

/* One line of all four planes, `pitch` elements long, from the image's line `line`, if not NULL. */
static void spread_line(int16_t *plane, uint32_t size, uint32_t pitch, const group_t *group,
                        const axis_t *along, const int8_t *line, uint32_t offset) {
    uint32_t at = 0u - along->pad; /* wraps around in front of the image */
    const uint32_t zeros = (uint8_t)group->zero * 0x01010101u;
    for (uint32_t place = 0; place < pitch; place += 2u) {
        uint32_t a = zeros;
        uint32_t b = zeros;
        if (line != NULL && group->channels == 4u && at < along->input && at + 1u < along->input) {
            const int8_t *pixel = &line[at * along->step];
            do { /* pixels inside the image */
                tesla_copy(&a, pixel, 4);
                tesla_copy(&b, &pixel[along->step], 4);
                spread(&plane[place], size, a, b, offset);
                pixel += 2u * along->step;
                place += 2u;
                at += 2u;
            } while (place < pitch && at + 1u < along->input);
            a = zeros;
            b = zeros;
            if (place >= pitch) {
                return;
            }
        }
        if (line != NULL) {
            a = four_channels(group, along, line, at);
            b = four_channels(group, along, line, at + 1u);
        }
        spread(&plane[place], size, a, b, offset);
        at += 2u;
    }
}

void tesla_depthwise_conv2d_dsp(const tesla_depthwise_plane_t *layer,
                                const tesla_packed_region_t *region, const int8_t *input,
                                const int8_t *weights, void *scratch, int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->output_channels;
    const axis_t rows = {window->input_height, window->output_height, window->pad_top,
                         window->input_width * channels, window->output_width * channels};
    const axis_t columns = {window->input_width, window->output_width, window->pad_left, channels,
                            channels};
    const axis_t along = layer->by_columns ? rows : columns;
    const axis_t across = layer->by_columns ? columns : rows;
    const uint32_t stride = window->stride_height;
    const uint32_t offset = tesla_twice(region->input_offset);
    const uint32_t size = layer->pitch * ((layer->strip - 1u) * stride + 3u);
    int16_t *const planes = (int16_t *)scratch;
    tesla_plane_t plane;
    plane.pitch = layer->pitch * 2u;
    plane.length = along.output;
    plane.step = along.outputs;
    plane.line = across.outputs;
    for (uint32_t channel = 0; channel < channels; channel += 4u) {
        const uint32_t left = channels - channel;
        const group_t group = {&input[channel], left < 4u ? left : 4u,
                               (int8_t)-region->input_offset};
        for (uint32_t first = 0; first < across.output; first += layer->strip) {
            const uint32_t rest = across.output - first;
            plane.lines = rest < layer->strip ? rest : layer->strip;
            const uint32_t lines = (plane.lines - 1u) * stride + 3u;
            for (uint32_t i = 0; i < lines; ++i) {
                const uint32_t at = first * stride + i - across.pad;
                spread_line(&planes[i * layer->pitch], size, layer->pitch, &group, &along,
                            at < across.input ? &group.input[at * across.step] : NULL, offset);
            }
            for (uint32_t i = 0; i < group.channels; ++i) {
                plane.plane = &planes[i * size];
                plane.taps = &weights[(channel + i) * 9u];
                plane.channel = &region->channels[channel + i];
                plane.output = &output[channel + i + first * across.outputs];
                if (stride == 1u) {
                    tesla_plane_dsp(&plane);
                } else {
                    tesla_plane_stride2_dsp(&plane);
                }
            }
        }
    }
    tesla_clamp_outputs(region, output,
                        (uint32_t)window->output_height * window->output_width * channels);
}
