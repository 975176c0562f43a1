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
    uint32_t channels;
    uint32_t x; /* of the next output pixel */
    uint32_t y;
} image_t;

/* Where tap 0, 0 of an output pixel meets the image, or lies beside it. */
typedef struct {
    int32_t y;
    int32_t x;
} place_t;

static place_t next_pixel(image_t *image) {
    const tesla_window_t *window = image->window;
    place_t place;
    place.y = (int32_t)(image->y * window->stride_height) - window->pad_top;
    place.x = (int32_t)(image->x * window->stride_width) - window->pad_left;
    if (++image->x == window->output_width) {
        image->x = 0;
        ++image->y;
    }
    return place;
}

/* The inputs under a tap: a pixel of the image, or the padding. */
static const int8_t *tap(const image_t *image, const place_t *place, int32_t y, int32_t x) {
    const uint32_t row = (uint32_t)(place->y + y);
    const uint32_t column = (uint32_t)(place->x + x);
    if (row >= image->window->input_height || column >= image->window->input_width) {
        return image->padding;
    }
    return &image->input[(row * image->window->input_width + column) * image->channels];
}

/* The inputs of two pixels under all taps. */
static void gather(const image_t *image, int16_t *wide, const place_t *first, const place_t *second,
                   int16_t offset) {
    const tesla_window_t *window = image->window;
    const uint32_t pitch = (uint32_t)window->height * window->width * 8u;
    for (int32_t y = 0; y < window->height; ++y) {
        for (int32_t x = 0; x < window->width; ++x) {
            const int32_t down = y * window->dilation_height;
            const int32_t right = x * window->dilation_width;
            tesla_widen_two(wide, tap(image, first, down, right), tap(image, second, down, right),
                            image->channels, offset, pitch);
            wide += 8;
        }
    }
}

void tesla_conv2d_dsp(const tesla_conv2d_t *layer, const tesla_packed_region_t *region,
                      const int8_t *input, const int8_t *weights, void *scratch, int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t taps = (uint32_t)window->height * window->width;
    const uint32_t quads = (region->input_channels + 3u) / 4u;
    const uint32_t pixels = (uint32_t)window->output_height * window->output_width;
    int16_t *const wide = (int16_t *)scratch;
    int8_t *const padding = (int8_t *)&wide[quads * taps * 8u];
    tesla_fill(padding, (uint8_t)-region->input_offset, region->input_channels);
    image_t image = {window, input, padding, region->input_channels, 0, 0};
    tesla_pair_t pair;
    pair.input = wide;
    pair.weights = weights;
    pair.channels = region->channels;
    pair.column = 0;
    pair.quads = quads * taps;
    pair.pitch = (layer->full_channels + 3u) / 4u * taps * 16u;
    int8_t *next = output;
    /* One tap on every pixel: the input is read from its beginning to its end. */
    const bool plain = taps == 1u && window->stride_height == 1u && window->stride_width == 1u &&
                       window->output_width == window->input_width &&
                       window->output_height == window->input_height;
    for (uint32_t done = 0; done < pixels; done += 2u) {
        const bool two = done + 1u < pixels; /* the last of an odd number is computed twice */
        if (plain) {
            const int8_t *first = &input[done * region->input_channels];
            tesla_widen_two(wide, first, two ? first + region->input_channels : first,
                            region->input_channels, region->input_offset, 8);
        } else {
            const place_t first = next_pixel(&image);
            const place_t second = two ? next_pixel(&image) : first;
            gather(&image, wide, &first, &second, region->input_offset);
        }
        pair.first = next;
        pair.second = two ? next + region->output_channels : next;
        tesla_pair_channels(&pair, region->output_channels, tesla_pair_dsp);
        next = pair.second + region->output_channels;
    }
    tesla_clamp_outputs(region, output, pixels * region->output_channels);
}
