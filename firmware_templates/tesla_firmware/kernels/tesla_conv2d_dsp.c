/* Convolution, int8, for the DSP instructions: the inputs of two pixels are gathered as int16, then
 * all their outputs are computed over packed weights. */
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stdbool.h>

/* An image and what lies around it: `padding` holds a pixel of zero points. */
typedef struct {
    const tesla_window_t *window;
    const int8_t *input;
    const int8_t *padding;
    int16_t *wide;
    uint32_t channels;
    uint32_t pitch; /* elements of wide from one quad of channels to the next */
    int16_t offset;
} image_t;

/* Where tap 0, 0 of an output pixel meets the image, or lies beside it. */
typedef struct {
    int32_t y;
    int32_t x;
} place_t;

/* Whether all taps of a pixel lie in the image. */
static inline bool inside(const tesla_window_t *window, const place_t *place) {
    const int32_t bottom = place->y + (window->height - 1) * window->dilation_height;
    const int32_t right = place->x + (window->width - 1) * window->dilation_width;
    return (place->y | place->x) >= 0 && bottom < window->input_height &&
           right < window->input_width;
}

static inline const int8_t *pixel(const image_t *image, int32_t y, int32_t x) {
    return &image
                ->input[((uint32_t)y * image->window->input_width + (uint32_t)x) * image->channels];
}

/* The inputs of two pixels under all taps, which lie in the image. */
static TESLA_NOINLINE void gather(const image_t *image, const place_t *first,
                                  const place_t *second) {
    const tesla_window_t *window = image->window;
    const uint32_t channels = image->channels;
    const uint32_t next = channels * window->dilation_width;
    const uint32_t row = channels * window->input_width * window->dilation_height;
    const uint32_t pitch = image->pitch;
    const int16_t offset = image->offset;
    const int8_t *a = pixel(image, first->y, first->x);
    const int8_t *b = pixel(image, second->y, second->x);
    int16_t *wide = image->wide;
    const uint32_t width = window->width;
    for (uint32_t y = window->height; y != 0u; --y) {
        for (uint32_t x = width; x != 0u; --x) {
            tesla_widen_two(wide, a, b, channels, offset, pitch);
            a += next;
            b += next;
            wide += 8;
        }
        a += row - width * next;
        b += row - width * next;
    }
}

/* The inputs under a tap: a pixel of the image, or the padding. */
static inline const int8_t *tap(const image_t *image, int32_t y, int32_t x) {
    const bool outside =
        (uint32_t)y >= image->window->input_height || (uint32_t)x >= image->window->input_width;
    return outside ? image->padding : pixel(image, y, x);
}

/* The inputs of two pixels under all taps, some of which lie beside the image. */
static TESLA_NOINLINE void gather_border(const image_t *image, const place_t *first,
                                         const place_t *second) {
    const tesla_window_t *window = image->window;
    int16_t *wide = image->wide;
    for (int32_t y = 0; y < window->height; ++y) {
        const int32_t down = y * window->dilation_height;
        for (int32_t x = 0; x < window->width; ++x) {
            const int32_t right = x * window->dilation_width;
            tesla_widen_two(wide, tap(image, first->y + down, first->x + right),
                            tap(image, second->y + down, second->x + right), image->channels,
                            image->offset, image->pitch);
            wide += 8;
        }
    }
}

/* Where the next output pixel's taps begin. */
static void advance(const tesla_window_t *window, place_t *place) {
    place->x += window->stride_width;
    if (place->x + window->pad_left == window->output_width * window->stride_width) {
        place->x = -(int32_t)window->pad_left;
        place->y += window->stride_height;
    }
}

static void all_pixels(const image_t *image, tesla_pair_t *pair, uint32_t outputs) {
    const tesla_window_t *window = image->window;
    const uint32_t pixels = (uint32_t)window->output_height * window->output_width;
    place_t first = {-(int32_t)window->pad_top, -(int32_t)window->pad_left};
    for (uint32_t done = 0; done < pixels; done += 2u) {
        place_t second = first;
        if (done + 1u < pixels) { /* the last of an odd number is computed twice */
            advance(window, &second);
            pair->second = pair->first + outputs;
        } else {
            pair->second = pair->first;
        }
        if (inside(window, &first) && inside(window, &second)) {
            gather(image, &first, &second);
        } else {
            gather_border(image, &first, &second);
        }
        tesla_pair_channels(pair, outputs, tesla_pair_dsp);
        pair->first += 2u * outputs;
        first = second;
        advance(window, &first);
    }
}

/* One tap on every pixel: the input is read from its beginning to its end. */
static void plain_pixels(const image_t *image, tesla_pair_t *pair, uint32_t outputs) {
    const uint32_t pixels = (uint32_t)image->window->output_height * image->window->output_width;
    const int8_t *first = image->input;
    for (uint32_t done = 0; done < pixels; done += 2u) {
        const bool two = done + 1u < pixels;
        tesla_widen_two(image->wide, first, two ? first + image->channels : first, image->channels,
                        image->offset, 8);
        pair->second = two ? pair->first + outputs : pair->first;
        tesla_pair_channels(pair, outputs, tesla_pair_dsp);
        pair->first += 2u * outputs;
        first += 2u * image->channels;
    }
}

void tesla_conv2d_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                      const int8_t *input, const int8_t *weights, void *scratch, int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t taps = (uint32_t)window->height * window->width;
    const uint32_t quads = (region->input_channels + 3u) / 4u;
    int16_t *const wide = (int16_t *)scratch;
    int8_t *const padding = (int8_t *)&wide[quads * taps * 8u];
    tesla_fill(padding, (uint8_t)region->input_zero, region->input_channels);
    const image_t image = {window,
                           input,
                           padding,
                           wide,
                           region->input_channels,
                           taps * 8u,
                           (int16_t)-region->input_zero};
    tesla_pair_t pair;
    tesla_pair_begin(&pair, region, weights);
    pair.input = wide;
    pair.quads = quads * taps;
    pair.pitch = (layer->full_channels + 3u) / 4u * taps * 16u;
    pair.first = output;
    if (taps == 1u && window->stride_height == 1u && window->stride_width == 1u &&
        window->output_width == window->input_width &&
        window->output_height == window->input_height) {
        plain_pixels(&image, &pair, region->output_channels);
    } else {
        all_pixels(&image, &pair, region->output_channels);
    }
    tesla_clamp_outputs(region->activation_min, region->activation_max, output,
                        (uint32_t)window->output_height * window->output_width *
                            region->output_channels);
}
