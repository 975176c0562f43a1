/* Convolution of few input channels, int8, for the DSP instructions: the taps of a row lie one
 * after the other, so that no quad of inputs is wasted on three channels. */
#include "tesla/clamp.h"
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
typedef struct work {
    tesla_pair_t pair;
    tesla_pair_rest_t rest;
    int16_t *wide;
    uint32_t offset;     /* in both halves */
    uint32_t apart;      /* bytes from one row of taps to the next, less than all padded rows */
    uint32_t back;       /* the same around their end, to a row in front */
    const int8_t *end;   /* of the padded rows */
    int8_t *left;        /* both pixels', `left_bytes` apart */
    uint32_t left_bytes; /* a multiple of 4 */
    uint32_t words;      /* of a row of taps */
    uint32_t over;       /* bytes of a row of taps */
    uint32_t outputs;
    image_t image;
    void (*gather)(const struct work *work, const int8_t *first, const int8_t *second);
} work_t;

/* Word by word: the compiler's own may copy byte by byte. */
static TESLA_INLINE void copy_row(int8_t *to, const int8_t *from, uint32_t length) {
#pragma GCC unroll 4
    for (; length >= 4u; length -= 4u) {
        tesla_copy(to, from, 4);
        to += 4;
        from += 4;
    }
#pragma GCC unroll 1
    for (; length != 0u; --length) {
        *to++ = *from++;
    }
}

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
            copy_row(&line[before], &image->input[row * row_bytes],
                     row_bytes < room ? row_bytes : room);
        } else {
            tesla_pair_fill(line, image->zero, image->pitch);
        }
    }
}

/* The next row of taps, around the end of the padded rows. */
static TESLA_INLINE const int8_t *next_row(const work_t *work, const int8_t *row) {
    const uint32_t left = (uint32_t)(work->end - row);
    return left > work->apart ? row + work->apart : row - work->back;
}

/* The taps of two pixels. */
static void gather_any(const work_t *work, const int8_t *first, const int8_t *second) {
    const uint32_t offset = work->offset;
    const uint32_t length = work->words * 4u;
    const uint32_t height = work->image.window->height;
    int16_t *wide = work->wide;
    int8_t *left = &work->left[height * work->over];
    for (uint32_t tap = height; tap != 0u; --tap) {
        tesla_widen_quads_two(wide, first, second, work->words, offset, 8);
        wide += work->words * 8u;
        left -= work->over;
        for (uint32_t i = 0; i < work->over; ++i) {
            left[i] = first[length + i];
            left[work->left_bytes + i] = second[length + i];
        }
        first = next_row(work, first);
        second = next_row(work, second);
    }
    tesla_widen_quads_two(wide, left, &left[work->left_bytes], work->left_bytes / 4u, offset, 8);
}

/* A row of nine bytes of two pixels, of which the last ones go to `left`. */
static TESLA_INLINE void nine(int16_t *wide, const int8_t *first, const int8_t *second,
                              uint32_t offset, uint32_t left[2]) {
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

/* The same for three rows of three taps of three channels. */
static void gather_3x9(const work_t *work, const int8_t *first, const int8_t *second) {
    const uint32_t offset = work->offset;
    int16_t *const wide = work->wide;
    uint32_t left[2] = {0, 0};
    const int8_t *const first_1 = next_row(work, first);
    const int8_t *const second_1 = next_row(work, second);
    const int8_t *const first_2 = next_row(work, first_1);
    const int8_t *const second_2 = next_row(work, second_1);
    nine(wide, first, second, offset, left);
    nine(wide + 16, first_1, second_1, offset, left);
    nine(wide + 32, first_2, second_2, offset, left);
    tesla_widen_word_two(wide + 48, left[0], left[1], offset);
}

/* The same for rows of four bytes. */
static void gather_4(const work_t *work, const int8_t *first, const int8_t *second) {
    const uint32_t offset = work->offset;
    int16_t *wide = work->wide;
    for (uint32_t tap = work->image.window->height; tap != 0u; --tap) {
        uint32_t a = 0;
        uint32_t b = 0;
        tesla_copy(&a, first, 4);
        tesla_copy(&b, second, 4);
        tesla_widen_word_two(wide, a, b, offset);
        wide += 8;
        first = next_row(work, first);
        second = next_row(work, second);
    }
}

/* Computes two pixels of whose taps the first ones are given. */
static TESLA_NOINLINE void two_pixels(work_t *work, const int8_t *first, const int8_t *second) {
    work->gather(work, first, second);
    tesla_pair_channels(&work->pair, &work->rest, tesla_pair_dsp);
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
        uint32_t left = window->output_width;
        load_rows(image, row + image->slots - window->stride_height);
        if (first != NULL) {
            two_pixels(work, first, next);
            first = NULL;
            next += step;
            --left;
        }
        for (; left >= 2u; left -= 2u) {
            two_pixels(work, next, next + step);
            next += 2u * step;
        }
        first = left != 0u ? next : NULL;
    }
    if (first != NULL) { /* the last of an odd number is computed twice */
        work->pair.second = work->pair.first;
        two_pixels(work, first, first);
    }
}

/* What gathers fastest: rows of three taps of three channels, or of four of one, are common. */
static void choose_gather(work_t *work, const tesla_window_t *window) {
    work->gather = gather_any;
    if (work->words == 2u && work->over == 1u && window->height == 3u) {
        work->gather = gather_3x9;
    } else if (work->words == 1u && work->over == 0u) {
        work->gather = gather_4;
    }
}

void tesla_conv2d_flat_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                           const int8_t *input, const int8_t *weights, void *scratch,
                           int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t length = (uint32_t)window->width * layer->full_channels;
    work_t work;
    set_image(&work.image, layer, input, region->input_zero);
    work.offset = tesla_twice((int16_t)-region->input_zero);
    work.outputs = region->output_channels;
    work.words = length / 4u;
    work.over = length % 4u;
    work.left_bytes = (window->height * work.over + 3u) & ~3u;
    const uint32_t around = work.image.pitch * work.image.slots;
    work.apart = window->height > 1u ? work.image.pitch * window->dilation_height : 0u;
    work.back = around - work.apart;
    choose_gather(&work, window);
    tesla_pair_t *pair = &work.pair;
    tesla_pair_begin(pair, region, weights);
    const uint32_t quads = window->height * work.words + work.left_bytes / 4u;
    tesla_pair_quads(pair, quads, quads);
    tesla_pair_set_rest(&work.rest, pair, work.outputs);
    work.wide = (int16_t *)scratch;
    work.left = (int8_t *)&work.wide[quads * 8u];
    work.image.lines = &work.left[2u * work.left_bytes];
    work.end = &work.image.lines[around];
    pair->input = work.wide;
    pair->first = output;
    pair->second = output + work.outputs;
    tesla_pair_fill(work.left, 0, 2u * work.left_bytes); /* weights of what fills it up are zero */
    tesla_pair_fill(work.image.lines, work.image.zero, around);
    all_pixels(&work);
    tesla_clamp_outputs(region->activation_min, region->activation_max, output,
                        (uint32_t)window->output_height * window->output_width * work.outputs);
}
