/* Convolution of 3 by 3 taps with stride 1, int8, for the DSP instructions: three rows of the image
 * stand widened in a line buffer, which pairs of pixels read in place. */
#include "tesla/clamp.h"
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stddef.h>

enum {
    QUAD = 4,
    COLUMN = 3 * QUAD /* elements: a quad of channels in three rows */
};

/* Moves the rows 1 and 2 of a column up and puts four channels into row 2; returns where the next
 * column begins. */
static TESLA_INLINE int16_t *next_row(int16_t *column, uint32_t word, uint32_t offset) {
#if TESLA_DSP
    __asm__ volatile("ldrd    r2, r3, [%0, #8]    \n"
                     "ldrd    r4, r5, [%0, #16]   \n"
                     "sxtab16 r6, %1, %2          \n"
                     "sxtab16 r8, %1, %2, ror #8  \n"
                     "stm     %0!, {r2-r6, r8}    \n" /* r7 may be the frame's */
                     : "+r"(column)
                     : "r"(offset), "r"(word)
                     : "r2", "r3", "r4", "r5", "r6", "r8", "memory");
    return column;
#else
    for (uint32_t i = 0; i < 2u * QUAD; i += 2u) {
        tesla_put(&column[i], tesla_get(&column[i + QUAD]));
    }
    tesla_put(&column[2 * QUAD], tesla_widened_even(word, offset));
    tesla_put(&column[2 * QUAD + 2], tesla_widened_odd(word, offset));
    return column + COLUMN;
#endif
}

/* One more row of the image in the columns of one quad of channels, of which `channels` exist. */
static void next_rows(int16_t *column, const int8_t *row, uint32_t pitch, uint32_t pixels,
                      uint32_t channels, int16_t offset) {
    const uint32_t both = tesla_twice(offset);
    const int8_t zero = (int8_t)-offset;
    uint32_t word = tesla_some(NULL, 0, zero);
    if (row == NULL || channels < (uint32_t)QUAD) {
        for (; pixels != 0u; --pixels) {
            if (row != NULL) {
                word = tesla_some(row, channels, zero);
                row += pitch;
            }
            column = next_row(column, word, both);
        }
        return;
    }
#pragma GCC unroll 1
    for (; pixels >= 2u; pixels -= 2u) {
        tesla_copy(&word, row, 4);
        column = next_row(column, word, both);
        row += pitch;
        tesla_copy(&word, row, 4);
        column = next_row(column, word, both);
        row += pitch;
    }
    if (pixels != 0u) {
        tesla_copy(&word, row, 4);
        (void)next_row(column, word, both);
    }
}

void tesla_conv2d_3x3_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                          const int8_t *input, const int8_t *weights, void *scratch,
                          int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->input_channels;
    const uint32_t outputs = region->output_channels;
    const uint32_t width = window->output_width;
    const uint32_t columns = width + 2u;
    const uint32_t room = columns - window->pad_left; /* for pixels of the image */
    const uint32_t pixels = window->input_width < room ? window->input_width : room;
    int16_t *const lines = (int16_t *)scratch;
    tesla_pair_t pair;
    tesla_pair_rest_t rest;
    tesla_pair_begin(&pair, region, weights);
    const uint32_t quads = (channels + 3u) / 4u;
    pair.active = quads * 144u;
    pair.skipped = (layer->full_channels + 3u) / 4u * 144u - pair.active;
    pair.own = columns * COLUMN * (uint32_t)sizeof(int16_t);
    tesla_pair_set_rest(&rest, &pair, outputs);
    tesla_clear(lines, quads * pair.own / 4u);
    for (uint32_t y = 0; y < window->output_height + 2u; ++y) {
        const uint32_t at = y - window->pad_top; /* wraps around above the image */
        for (uint32_t quad = 0; quad < quads; ++quad) {
            const uint32_t left = channels - quad * 4u;
            const int8_t *row = NULL;
            if (at < window->input_height) {
                row = &input[at * window->input_width * channels + quad * 4u];
            }
            next_rows(&lines[(quad * columns + window->pad_left) * COLUMN], row, channels, pixels,
                      left < 4u ? left : 4u, (int16_t)-region->input_zero);
        }
        if (y < 2u) {
            continue; /* three rows make the first output */
        }
        pair.pairs = width / 2u;
        for (uint32_t x = 0;; x = width - 2u) {
            pair.input = &lines[x * COLUMN];
            pair.first = &output[x * outputs];
            pair.second = pair.first + outputs;
            tesla_pair_channels(&pair, &rest, tesla_pair3x3_dsp);
            if (width % 2u == 0u || x + 2u == width) {
                break;
            }
            pair.pairs = 1; /* the last pair overlaps */
        }
        output += width * outputs;
    }
    const uint32_t count = (uint32_t)window->output_height * width * outputs;
    tesla_clamp_outputs(region->activation_min, region->activation_max, output - count, count);
}
