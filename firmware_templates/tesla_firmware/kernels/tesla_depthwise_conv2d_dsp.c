/* Depthwise convolution, 3 by 3 taps, int8, for the DSP instructions: four channels at a time
 * become planes of int16, of which each is filtered with its taps in registers. */
#include "tesla/clamp.h"
#include "tesla/kernels.h"
#include "tesla/plane.h"
#include "tesla/widen.h"

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
    uint32_t word = (uint8_t)group->zero * 0x01010101u;
    if (at < along->input) {
        if (group->channels == 4u) {
            tesla_copy(&word, &line[at * along->step], 4);
        } else {
            word = tesla_some(&line[at * along->step], group->channels, group->zero);
        }
    }
    return word;
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

/* One line of all four planes, `count` elements, of zeros. */
static void clear_line(int16_t *plane, uint32_t size, uint32_t count) {
    for (uint32_t i = 0; i < 4u; ++i) {
#pragma GCC unroll 1
        for (uint32_t place = 0; place < count; place += 2u) {
            tesla_put(&plane[place], 0);
        }
        plane += size;
    }
}

/* The same from a line of the image. */
static void spread_line(int16_t *plane, uint32_t size, uint32_t count, const group_t *group,
                        const axis_t *along, const int8_t *line, uint32_t offset) {
    const int16_t *const end = plane + count;
    uint32_t at = 0u - along->pad; /* wraps around in front of the image */
    while (plane < end) {
        if (group->channels == 4u && at < along->input) { /* as far as both pixels are inside */
            const uint32_t inside = (along->input - at) & ~1u;
            const int16_t *const stop = inside < (uint32_t)(end - plane) ? plane + inside : end;
            const int8_t *pixel = &line[at * along->step];
            uint32_t a = 0;
            uint32_t b = 0;
            at += (uint32_t)(stop - plane);
#pragma GCC unroll 1
            for (; plane < stop; plane += 2) {
                tesla_copy(&a, pixel, 4);
                pixel += along->step;
                tesla_copy(&b, pixel, 4);
                pixel += along->step;
                spread(plane, size, a, b, offset);
            }
        }
        if (plane < end) {
            const uint32_t a = four_channels(group, along, line, at);
            const uint32_t b = four_channels(group, along, line, at + 1u);
            spread(plane, size, a, b, offset);
            at += 2u;
            plane += 2;
        }
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
    /* Elements of a line that are read: an even number. */
    const uint32_t count = ((along.output - 1u) * stride + 5u) & ~1u;
    int16_t *const planes = (int16_t *)scratch;
    tesla_plane_t plane;
    plane.length = along.output;
    plane.step = along.outputs;
    plane.line = across.outputs;
    /* Strip by strip, so that the output may follow close behind the input. */
    for (uint32_t first = 0; first < across.output; first += layer->strip) {
        const uint32_t rest = across.output - first;
        plane.lines = rest < layer->strip ? rest : layer->strip;
        const uint32_t lines = (plane.lines - 1u) * stride + 3u;
        for (uint32_t channel = 0; channel < channels; channel += 4u) {
            const uint32_t left = channels - channel;
            const group_t group = {&input[channel], left < 4u ? left : 4u,
                                   (int8_t)-region->input_offset};
            for (uint32_t i = 0; i < lines; ++i) {
                const uint32_t at = first * stride + i - across.pad;
                int16_t *const to = &planes[i * layer->pitch];
                if (at < across.input) {
                    spread_line(to, size, count, &group, &along, &group.input[at * across.step],
                                offset);
                } else {
                    clear_line(to, size, count);
                }
            }
            for (uint32_t i = 0; i < group.channels; ++i) {
                plane.plane = &planes[i * size];
                plane.taps = &weights[(channel + i) * 9u];
                plane.channel = &region->channels[channel + i];
                plane.output = &output[channel + i + first * across.outputs];
                layer->filter(&plane);
            }
        }
    }
    tesla_clamp_outputs(region->activation_min, region->activation_max, output,
                        (uint32_t)window->output_height * window->output_width * channels);
}
