/* Convolution of 3 by 3 taps with stride 1, int8, for the DSP instructions: three rows of the image
 * stand widened in a line buffer, which pairs of pixels read in place. */
#include "tesla/clamp.h"
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    QUAD = 4,
    COLUMN = 3 * QUAD /* elements: a quad of channels in three rows */
};

#if TESLA_DSP
/* Moves the rows 1 and 2 of a column up and puts the four channels at PIXEL into row 2. */
#define MOVE(PIXEL)                                                                                \
    "ldr     r6, [" PIXEL "]     \n"                                                               \
    "ldrd    r2, r3, [%0, #8]    \n"                                                               \
    "ldrd    r4, r5, [%0, #16]   \n"                                                               \
    "sxtab16 r8, %4, r6, ror #8  \n"                                                               \
    "sxtab16 r6, %4, r6          \n"                                                               \
    "stm     %0!, {r2-r6, r8}    \n" /* r7 may be the frame's */
#define ONE_COLUMN                                                                                 \
    MOVE("%1")                                                                                     \
    "add     %1, %1, %3          \n"
#define TWO_COLUMNS                                                                                \
    MOVE("%1")                                                                                     \
    MOVE("%1, %3")                                                                                 \
    "add     %1, %1, %3, lsl #1  \n"
#endif

/* The same for `pixels` columns; pixels are `pitch` bytes apart. */
static TESLA_INLINE void next_row(int16_t *column, const int8_t *row, uint32_t pitch,
                                  uint32_t pixels, uint32_t offset) {
#if TESLA_DSP
    __asm__ volatile("1:                          \n" /* until whole fours are left */
                     "tst     %2, #3              \n"
                     "beq     2f                  \n" ONE_COLUMN "sub     %2, %2, #1          \n"
                     "b       1b                  \n"
                     "2:                          \n"
                     "cmp     %2, #0              \n"
                     "beq     4f                  \n"
                     "3:                          \n" TWO_COLUMNS TWO_COLUMNS
                     "subs    %2, %2, #4          \n"
                     "bne     3b                  \n"
                     "4:                          \n"
                     : "+&r"(column), "+&r"(row), "+&r"(pixels)
                     : "r"(pitch), "r"(offset)
                     : "r2", "r3", "r4", "r5", "r6", "r8", "cc", "memory");
#else
    for (; pixels != 0u; --pixels) {
        uint32_t word = 0;
        tesla_copy(&word, row, 4);
        for (uint32_t i = 0; i < 2u * QUAD; i += 2u) {
            tesla_put(&column[i], tesla_get(&column[i + QUAD]));
        }
        tesla_put(&column[2 * QUAD], tesla_widened_even(word, offset));
        tesla_put(&column[2 * QUAD + 2], tesla_widened_odd(word, offset));
        column += COLUMN;
        row += pitch;
    }
#endif
}

/* Three rows of the image, widened: columns of a quad of channels, then those of the next quad. */
typedef struct {
    int16_t *first; /* the column of the image's first pixel */
    uint32_t own;   /* elements from one quad of channels to the next */
    uint32_t pixels;
    uint32_t channels;
    uint32_t offset; /* in both halves */
    int8_t zeros[QUAD];
} columns_t;

/* The last `channels` channels of a row, 1 .. 3, in their own columns. */
static TESLA_NOINLINE void next_narrow_row(const columns_t *columns, int16_t *column,
                                           const int8_t *row, uint32_t channels) {
    for (uint32_t pixels = columns->pixels; pixels != 0u; --pixels) {
        const uint32_t word = tesla_some(row, channels, columns->zeros[0]);
        int8_t some[QUAD];
        tesla_copy(some, &word, 4);
        next_row(column, some, 0, 1, columns->offset);
        column += COLUMN;
        row += columns->channels;
    }
}

/* One more row of the image, or of what lies beside it. */
static TESLA_NOINLINE void next_rows(const columns_t *columns, const int8_t *row) {
    const bool beside = row == NULL;
    const uint32_t channels = columns->channels;
    const uint32_t step = beside ? 0u : (uint32_t)QUAD;
    int16_t *column = columns->first;
    row = beside ? columns->zeros : row;
    for (uint32_t quads = (beside ? channels + 3u : channels) / 4u; quads != 0u; --quads) {
        next_row(column, row, beside ? 0u : channels, columns->pixels, columns->offset);
        column += columns->own;
        row += step;
    }
    if (channels % 4u != 0u && !beside) {
        next_narrow_row(columns, column, row, channels % 4u);
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
    int16_t *const start = (int16_t *)scratch;
    columns_t buffer;
    tesla_pair_t pair;
    tesla_pair_rest_t rest;
    tesla_pair_begin(&pair, region, weights);
    const uint32_t quads = (channels + 3u) / 4u;
    pair.active = quads * 144u;
    pair.skipped = (layer->full_channels + 3u) / 4u * 144u - pair.active;
    pair.own = columns * COLUMN * (uint32_t)sizeof(int16_t);
    tesla_pair_set_rest(&rest, &pair, outputs);
    buffer.first = &start[window->pad_left * COLUMN];
    buffer.own = columns * COLUMN;
    buffer.pixels = window->input_width < room ? window->input_width : room;
    buffer.channels = channels;
    buffer.offset = tesla_twice((int16_t)-region->input_zero);
    tesla_pair_fill(buffer.zeros, region->input_zero, QUAD);
    tesla_clear(start, quads * pair.own / 4u);
    for (uint32_t y = 0; y < window->output_height + 2u; ++y) {
        const uint32_t at = y - window->pad_top; /* wraps around above the image */
        const bool inside = at < window->input_height;
        next_rows(&buffer, inside ? &input[at * window->input_width * channels] : NULL);
        if (y < 2u) {
            continue; /* three rows make the first output */
        }
        pair.pairs = width / 2u;
        for (uint32_t x = 0;; x = width - 2u) {
            pair.input = &start[x * COLUMN];
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
