/* Convolution of 3 by 3 taps with stride 1, int8, for the DSP instructions: three rows of the image
 * stand widened in a line buffer, which pairs of pixels read in place. */
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stddef.h>

enum {
    QUAD = 4,
    COLUMN = 3 * QUAD /* elements: a quad of channels in three rows */
};

/* Moves the rows 1 and 2 of a column up and puts four channels into row 2. */
static inline void next_row(int16_t *column, uint32_t word, uint32_t offset) {
    /* Word by word: as one block it becomes a call of memmove. */
    const uint32_t words[4] = {tesla_get(&column[QUAD]), tesla_get(&column[QUAD + 2]),
                               tesla_get(&column[2 * QUAD]), tesla_get(&column[2 * QUAD + 2])};
    tesla_put(column, words[0]);
    tesla_put(&column[2], words[1]);
    tesla_put(&column[QUAD], words[2]);
    tesla_put(&column[QUAD + 2], words[3]);
    tesla_put(&column[2 * QUAD], tesla_widened_even(word, offset));
    tesla_put(&column[2 * QUAD + 2], tesla_widened_odd(word, offset));
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
            next_row(column, word, both);
            column += COLUMN;
        }
        return;
    }
    for (; pixels != 0u; --pixels) {
        tesla_copy(&word, row, 4);
        next_row(column, word, both);
        row += pitch;
        column += COLUMN;
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
    tesla_pair_begin(&pair, region, weights);
    pair.quads = (channels + 3u) / 4u;
    pair.pitch = (layer->full_channels + 3u) / 4u * 144u;
    pair.column = columns * COLUMN * (uint32_t)sizeof(int16_t);
    tesla_fill(lines, 0, pair.quads * pair.column);
    for (uint32_t y = 0; y < window->output_height + 2u; ++y) {
        const uint32_t at = y - window->pad_top; /* wraps around above the image */
        for (uint32_t quad = 0; quad < pair.quads; ++quad) {
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
        pair.input = lines;
        pair.first = output;
        pair.second = pair.first + outputs;
        tesla_pair_channels(&pair, outputs, tesla_pair3x3_dsp);
        if (width % 2u != 0u) { /* the last pair overlaps */
            pair.pairs = 1;
            pair.input = &lines[(width - 2u) * COLUMN];
            pair.first = &output[(width - 2u) * outputs];
            pair.second = pair.first + outputs;
            tesla_pair_channels(&pair, outputs, tesla_pair3x3_dsp);
        }
        output += width * outputs;
    }
    const uint32_t count = (uint32_t)window->output_height * width * outputs;
    tesla_clamp_outputs(region->activation_min, region->activation_max, output - count, count);
}
