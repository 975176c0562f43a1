/* Padded rows of an image, widened in their order: a ring of as many as a kernel looks at. */
#ifndef TESLA_LINES_H
#define TESLA_LINES_H

#include "tesla/layers.h"
#include "tesla/widen.h"

#include <stdint.h>

/* The padded rows of the image that two pixels need, widened, each in the place `row % slots`. Rows
 * count from the first one above the image. */
typedef struct {
    const tesla_window_t *window;
    const int8_t *input;
    int16_t *rows;
    uint32_t pitch;    /* elements of a padded row, an even number */
    uint32_t slots;    /* padded rows that are kept */
    uint32_t loaded;   /* rows so far */
    uint32_t channels; /* of a pixel */
    uint32_t offset;   /* in both halves */
} tesla_lines_t;

/* Widens a row of the image; its inputs stay in their order. */
static TESLA_INLINE void tesla_lines_widen(int16_t *to, const int8_t *from, uint32_t length,
                                           uint32_t offset) {
#if TESLA_DSP
    uint32_t quads = length / 4u;
    if (quads != 0u) {
        uint32_t even;
        uint32_t odd;
        uint32_t high;
        __asm__ volatile("1:                          \n"
                         "ldr     %1, [%4], #4        \n"
                         "sxtab16 %0, %6, %1          \n"
                         "sxtab16 %1, %6, %1, ror #8  \n"
                         "pkhtb   %2, %1, %0, asr #16 \n"
                         "pkhbt   %0, %0, %1, lsl #16 \n"
                         "str     %0, [%3], #8        \n"
                         "str     %2, [%3, #4 - 8]    \n"
                         "subs    %5, %5, #1          \n"
                         "bne     1b                  \n"
                         : "=&r"(even), "=&r"(odd), "=&r"(high), "+&r"(to), "+&r"(from),
                           "+&r"(quads)
                         : "r"(offset)
                         : "cc", "memory");
    }
    length %= 4u;
#endif
    for (; length != 0u; --length) {
        *to++ = (int16_t)(*from++ + (int16_t)(uint16_t)offset);
    }
}

/* Makes sure that all rows in front of `until` are there; what lies beside the image is zero. */
static TESLA_NOINLINE TESLA_UNUSED void tesla_lines_load(tesla_lines_t *lines, uint32_t until) {
    const tesla_window_t *window = lines->window;
    const uint32_t before = window->pad_left * lines->channels;
    const uint32_t row_bytes = window->input_width * lines->channels;
    const uint32_t room = lines->pitch - before;
    for (; lines->loaded < until; ++lines->loaded) {
        int16_t *line = &lines->rows[lines->loaded % lines->slots * lines->pitch];
        const uint32_t row = lines->loaded - window->pad_top; /* wraps around above the image */
        if (row < window->input_height) {
            tesla_lines_widen(&line[before], &lines->input[row * row_bytes],
                              row_bytes < room ? row_bytes : room, lines->offset);
        } else {
            tesla_clear(line, lines->pitch / 2u);
        }
    }
}

/* Sets everything but `rows`, for the rows that two pixels need. */
static inline void tesla_lines_set(tesla_lines_t *lines, const tesla_conv2d_t *layer,
                                   const int8_t *input, int8_t zero) {
    const tesla_window_t *window = &layer->window;
    const uint32_t columns = (window->output_width - 1u) * window->stride_width + window->width;
    lines->window = window;
    lines->input = input;
    lines->channels = layer->full_channels;
    lines->pitch = (columns * lines->channels + 1u) & ~1u;
    lines->slots = (window->height - 1u) * window->dilation_height + 1u + window->stride_height;
    lines->loaded = 0;
    lines->offset = tesla_twice((int16_t)-zero);
}

#endif /* TESLA_LINES_H */
