/* Max pooling, int8, for the DSP instructions: four channels at a time. */
#include "tesla/dsp.h"
#include "tesla/kernels.h"
#include "tesla/string.h"
#include "tesla/window.h"

#include <stdbool.h>

static inline int8_t larger(int8_t a, int8_t b) {
    return a > b ? a : b;
}

/* The larger of each of four bytes. */
static inline uint32_t larger4(uint32_t a, uint32_t b) {
#if TESLA_DSP
    uint32_t result;
    __asm__("ssub8 %0, %1, %2 \n" /* GE: whether a >= b, byte by byte */
            "sel   %0, %1, %2 \n"
            : "=&r"(result)
            : "r"(a), "r"(b));
    return result;
#else
    uint32_t result = 0;
    for (uint32_t i = 0; i < 32u; i += 8u) {
        result |= (uint32_t)(uint8_t)larger((int8_t)(a >> i), (int8_t)(b >> i)) << i;
    }
    return result;
#endif
}

static inline uint32_t word(const int8_t *from) {
    uint32_t value;
    tesla_copy(&value, from, 4);
    return value;
}

/* The largest values of windows of two by two pixels that follow each other without gaps. */
static void row_2x2(const int8_t *top, const int8_t *bottom, uint32_t channels, uint32_t pixels,
                    int8_t *output) {
    for (; pixels != 0u; --pixels) {
        const int8_t *const end = top + (channels & ~3u);
        while (top != end) {
            const uint32_t upper = larger4(word(top), word(top + channels));
            const uint32_t lower = larger4(word(bottom), word(bottom + channels));
            const uint32_t result = larger4(upper, lower);
            tesla_copy(output, &result, 4);
            top += 4;
            bottom += 4;
            output += 4;
        }
        for (uint32_t c = channels % 4u; c != 0u; --c) {
            const int8_t upper = larger(*top, top[channels]);
            *output++ = larger(upper, larger(*bottom, bottom[channels]));
            ++top;
            ++bottom;
        }
        top += channels;
        bottom += channels;
    }
}

/* Raises `output` to the values of another tap. */
static void raise(int8_t *output, const int8_t *tap, uint32_t channels) {
    for (; channels >= 4u; channels -= 4u) {
        const uint32_t result = larger4(word(output), word(tap));
        tesla_copy(output, &result, 4);
        tap += 4;
        output += 4;
    }
    for (; channels != 0u; --channels) {
        *output = larger(*output, *tap++);
        ++output;
    }
}

static void any_row(const tesla_window_t *window, uint32_t channels, const int8_t *input,
                    tesla_taps_t rows, int8_t *output) {
    for (uint32_t x = 0; x < window->output_width; ++x) {
        const tesla_taps_t columns = tesla_taps(x, window->stride_width, window->pad_left,
                                                window->width, 1u, window->input_width);
        tesla_fill(output, 0x80, channels);
        for (uint32_t i = 0; i < rows.end - rows.first; ++i) {
            const uint32_t row = (rows.position + i) * window->input_width;
            for (uint32_t j = 0; j < columns.end - columns.first; ++j) {
                raise(output, &input[(row + columns.position + j) * channels], channels);
            }
        }
        output += channels;
    }
}

void tesla_max_pool2d_dsp(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                          int8_t *output) {
    const uint32_t pitch = (uint32_t)window->input_width * channels;
    const uint32_t covered = 2u * window->output_width;
    const bool plain = window->width == 2u && window->stride_width == 2u &&
                       window->pad_left == 0u && covered <= window->input_width;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const tesla_taps_t rows = tesla_taps(y, window->stride_height, window->pad_top,
                                             window->height, 1u, window->input_height);
        if (plain && rows.end - rows.first == 2u) {
            const int8_t *top = &input[rows.position * pitch];
            row_2x2(top, top + pitch, channels, window->output_width, output);
        } else {
            any_row(window, channels, input, rows, output);
        }
        output += (uint32_t)window->output_width * channels;
    }
}
