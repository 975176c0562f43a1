/* Convolution of few input channels, int8, for the DSP instructions: the taps of a row lie one
 * after the other, so that no quad of inputs is wasted on three channels. */
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stddef.h>

/* The padded rows of the image that two pixels need, each in the place `row % slots`. Rows count
 * from the first one above the image. */
typedef struct {
    const tesla_window_t *window;
    const int8_t *input;
    int8_t *lines;
    uint32_t pitch;    /* bytes of a padded row */
    uint32_t slots;    /* padded rows that are kept */
    uint32_t loaded;   /* rows so far */
    uint32_t channels; /* of a pixel */
    int8_t zero;
} image_t;

/* Two pixels: where their taps go, the quads of whole words and the bytes that rows have left, and
 * what is done with them. */
typedef struct {
    image_t image;
    tesla_pair_t pair;
    int16_t *wide;
    int8_t *left;        /* both pixels', `left_bytes` apart */
    uint32_t left_bytes; /* a multiple of 4 */
    uint32_t words;      /* of a row of taps */
    uint32_t rest;       /* bytes of a row of taps */
    uint32_t outputs;
    int16_t offset;
} work_t;

/* Makes sure that all rows in front of `until` are there. */
static TESLA_NOINLINE void load_rows(image_t *image, uint32_t until) {
    const tesla_window_t *window = image->window;
    const uint32_t before = window->pad_left * image->channels;
    const uint32_t row_bytes = window->input_width * image->channels;
    const uint32_t room = image->pitch - before;
    for (; image->loaded < until; ++image->loaded) {
        int8_t *line = &image->lines[image->loaded % image->slots * image->pitch];
        const uint32_t row = image->loaded - window->pad_top; /* wraps around above the image */
        if (row < window->input_height) {
            tesla_copy(&line[before], &image->input[row * row_bytes],
                       row_bytes < room ? row_bytes : room);
        } else {
            tesla_fill(line, (uint8_t)image->zero, image->pitch);
        }
    }
}

/* The next row of taps, around the end of the padded rows. */
static inline const int8_t *next_row(const int8_t *row, uint32_t apart, const int8_t *end,
                                     uint32_t around) {
    row += apart;
    return row >= end ? row - around : row;
}

/* The taps of two pixels. */
static TESLA_NOINLINE void gather(const work_t *work, const int8_t *first, const int8_t *second) {
    const image_t *image = &work->image;
    const tesla_window_t *window = image->window;
    const uint32_t apart = image->pitch * window->dilation_height;
    const uint32_t around = image->pitch * image->slots;
    const int8_t *const end = &image->lines[around];
    const uint32_t length = work->words * 4u;
    int16_t *wide = work->wide;
    int8_t *left = &work->left[window->height * work->rest];
    for (uint32_t tap = window->height; tap != 0u; --tap) {
        tesla_widen_two(wide, first, second, length, work->offset, 8);
        wide += work->words * 8u;
        left -= work->rest;
        for (uint32_t i = 0; i < work->rest; ++i) {
            left[i] = first[length + i];
            left[work->left_bytes + i] = second[length + i];
        }
        first = next_row(first, apart, end, around);
        second = next_row(second, apart, end, around);
    }
    tesla_widen_two(wide, work->left, &work->left[work->left_bytes], work->left_bytes, work->offset,
                    8);
}

/* A row of nine bytes of two pixels, of which the last ones go to `left`. */
static inline void nine(int16_t *wide, const int8_t *first, const int8_t *second, uint32_t offset,
                        uint32_t left[2]) {
    uint32_t a = 0;
    uint32_t b = 0;
    tesla_copy(&a, first, 4);
    tesla_copy(&b, second, 4);
    tesla_widen_word_two(wide, a, b, offset);
    tesla_copy(&a, first + 4, 4);
    tesla_copy(&b, second + 4, 4);
    tesla_widen_word_two(wide + 8, a, b, offset);
    left[0] = left[0] << 8 | (uint8_t)first[8];
    left[1] = left[1] << 8 | (uint8_t)second[8];
}

/* The same for three rows of three taps of three channels; of what rows have left the last is the
 * first. */
static inline void gather_3x9(const work_t *work, const int8_t *first, const int8_t *second) {
    const uint32_t pitch = work->image.pitch;
    const uint32_t around = pitch * 4u;
    const int8_t *const end = &work->image.lines[around];
    const uint32_t offset = tesla_twice(work->offset);
    int16_t *wide = work->wide;
    uint32_t left[2] = {0, 0};
    nine(wide, first, second, offset, left);
    first = next_row(first, pitch, end, around);
    second = next_row(second, pitch, end, around);
    nine(wide + 16, first, second, offset, left);
    first = next_row(first, pitch, end, around);
    second = next_row(second, pitch, end, around);
    nine(wide + 32, first, second, offset, left);
    tesla_widen_word_two(wide + 48, left[0], left[1], offset);
}

/* Computes two pixels of whose taps the first ones are given. */
static TESLA_NOINLINE void two_pixels(work_t *work, const int8_t *first, const int8_t *second) {
    if (work->words == 2u && work->left_bytes == 4u && work->image.slots == 4u) {
        gather_3x9(work, first, second);
    } else {
        gather(work, first, second);
    }
    tesla_pair_channels(&work->pair, work->outputs, tesla_pair_dsp);
    work->pair.first += 2u * work->outputs;
    work->pair.second += 2u * work->outputs;
}

static void set_image(image_t *image, const tesla_conv2d_t *layer, const int8_t *input,
                      int8_t zero) {
    const tesla_window_t *window = &layer->window;
    const uint32_t columns = (window->output_width - 1u) * window->stride_width + window->width;
    image->window = window;
    image->input = input;
    image->channels = layer->full_channels;
    image->pitch = columns * image->channels;
    image->slots = (window->height - 1u) * window->dilation_height + 1u + window->stride_height;
    image->loaded = 0;
    image->zero = zero;
}

/* Row after row, so that two pixels may be the last one of a row and the first one of the next. */
static void all_pixels(work_t *work) {
    image_t *image = &work->image;
    const tesla_window_t *window = image->window;
    const uint32_t step = window->stride_width * image->channels;
    const int8_t *first = NULL;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const uint32_t row = y * window->stride_height;
        const int8_t *next = &image->lines[row % image->slots * image->pitch];
        load_rows(image, row + image->slots - window->stride_height);
        for (uint32_t x = window->output_width; x != 0u; --x) {
            if (first != NULL) {
                two_pixels(work, first, next);
                first = NULL;
            } else {
                first = next;
            }
            next += step;
        }
    }
    if (first != NULL) { /* the last of an odd number is computed twice */
        work->pair.second = work->pair.first;
        two_pixels(work, first, first);
    }
}

void tesla_conv2d_flat_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                           const int8_t *input, const int8_t *weights, void *scratch,
                           int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t length = (uint32_t)window->width * layer->full_channels;
    work_t work;
    set_image(&work.image, layer, input, region->input_zero);
    work.offset = (int16_t)-region->input_zero;
    work.outputs = region->output_channels;
    work.words = length / 4u;
    work.rest = length % 4u;
    work.left_bytes = (window->height * work.rest + 3u) & ~3u;
    tesla_pair_t *pair = &work.pair;
    tesla_pair_begin(pair, region, weights);
    pair->quads = window->height * work.words + work.left_bytes / 4u;
    pair->pitch = pair->quads * 16u;
    work.wide = (int16_t *)scratch;
    work.left = (int8_t *)&work.wide[pair->quads * 8u];
    work.image.lines = &work.left[2u * work.left_bytes];
    pair->input = work.wide;
    pair->first = output;
    pair->second = output + work.outputs;
    tesla_fill(work.left, 0, 2u * work.left_bytes); /* weights of what fills it up are zero */
    tesla_fill(work.image.lines, (uint8_t)work.image.zero, work.image.slots * work.image.pitch);
    all_pixels(&work);
    tesla_clamp_outputs(region->activation_min, region->activation_max, output,
                        (uint32_t)window->output_height * window->output_width * work.outputs);
}
