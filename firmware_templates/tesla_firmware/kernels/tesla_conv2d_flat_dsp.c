/* Convolution of few input channels, int8, for the DSP instructions: the taps of a row lie one
 * after the other, so that no quad of inputs is wasted on three channels. */
#include "tesla/clamp.h"
#include "tesla/kernels.h"
#include "tesla/lines.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stdbool.h>
#include <stddef.h>

/* Two pixels: where their taps go, two inputs at a time, and what is done with them. */
typedef struct {
    tesla_pair_t pair;
    tesla_pair_rest_t rest;
    int16_t *wide;
    uint32_t apart;     /* elements from one row of taps to the next, less than all padded rows */
    uint32_t back;      /* the same around their end, to a row in front */
    const int16_t *end; /* of the padded rows */
    uint32_t words;     /* pairs of inputs in a row of taps */
    uint32_t over;      /* 1 where a row of taps has one input more, else 0 */
    uint32_t outputs;
    int32_t rows[2]; /* elements from a pixel's first row of taps to the next two */
    tesla_lines_t lines;
} work_t;

/* Gathers the taps of two pixels. */
typedef void (*gather_t)(const work_t *work, const int16_t *first, const int16_t *second);

/* The next row of taps, around the end of the padded rows. */
static TESLA_INLINE const int16_t *next_row(const work_t *work, const int16_t *row) {
    const uint32_t left = (uint32_t)(work->end - row);
    return left > work->apart ? row + work->apart : row - work->back;
}

/* Two inputs of both pixels, the first of which need not lie at multiples of 4 bytes. */
static TESLA_INLINE void two_inputs(int16_t *wide, const int16_t *first, const int16_t *second) {
    uint32_t a = 0;
    uint32_t b = 0;
    tesla_copy(&a, first, 4);
    tesla_copy(&b, second, 4);
    tesla_put(wide, a);
    tesla_put(&wide[2], b);
}

/* The taps of two pixels: of each row an even number, then what rows have left. */
static void gather_any(const work_t *work, const int16_t *first, const int16_t *second) {
    const uint32_t over = work->over;
    const uint32_t height = work->lines.window->height;
    int16_t *wide = work->wide;
    int16_t *left = &wide[height * work->words * 4u];
    for (uint32_t tap = 0; tap < height; ++tap) {
        const int16_t *a = first;
        const int16_t *b = second;
        for (uint32_t words = work->words; words != 0u; --words) {
            two_inputs(wide, a, b);
            wide += 4;
            a += 2;
            b += 2;
        }
        if (over != 0u) {
            left[0] = *a;
            left[2] = *b;
            left += tap % 2u != 0u ? 3 : 1;
        }
        first = next_row(work, first);
        second = next_row(work, second);
    }
}

#if TESLA_DSP
/* Two inputs of both pixels, AT bytes on. */
#define TWO(AT)                                                                                    \
    "ldr  %0, [%2, #" AT "]          \n"                                                           \
    "ldr  %1, [%3, #" AT "]          \n"                                                           \
    "strd %0, %1, [%4, #2 * " AT "]  \n"
#endif

/* Four times two inputs of both pixels. */
static TESLA_INLINE void eight(int16_t *wide, const int16_t *first, const int16_t *second) {
#if TESLA_DSP
    uint32_t a;
    uint32_t b;
    __asm__ volatile(TWO("0") TWO("4") TWO("8") TWO("12")
                     : "=&r"(a), "=&r"(b)
                     : "r"(first), "r"(second), "r"(wide)
                     : "memory");
#else
    for (uint32_t i = 0; i < 8u; i += 2u) {
        two_inputs(&wide[2u * i], &first[i], &second[i]);
    }
#endif
}

/* The same for three rows of three taps of three channels, of pixels in one row. */
static void gather_3x9(const work_t *work, const int16_t *first, const int16_t *second) {
    int16_t *const wide = work->wide;
    const int32_t row_1 = work->rows[0];
    const int32_t row_2 = work->rows[1];
    eight(wide, first, second);
    eight(&wide[16], first + row_1, second + row_1);
    eight(&wide[32], first + row_2, second + row_2);
    first += 8;
    second += 8;
    tesla_put(&wide[48], (uint16_t)first[0] | (uint32_t)(uint16_t)first[row_1] << 16);
    tesla_put(&wide[50], (uint16_t)second[0] | (uint32_t)(uint16_t)second[row_1] << 16);
    tesla_put(&wide[52], (uint16_t)first[row_2]);
    tesla_put(&wide[54], (uint16_t)second[row_2]);
}

/* The same for rows of four inputs. */
static void gather_4(const work_t *work, const int16_t *first, const int16_t *second) {
    int16_t *wide = work->wide;
    for (uint32_t tap = work->lines.window->height; tap != 0u; --tap) {
        two_inputs(wide, first, second);
        two_inputs(&wide[4], &first[2], &second[2]);
        wide += 8;
        first = next_row(work, first);
        second = next_row(work, second);
    }
}

/* Computes two pixels of whose taps the first ones are given. */
static TESLA_INLINE void two_pixels(work_t *work, gather_t gather, const int16_t *first,
                                    const int16_t *second) {
    gather(work, first, second);
    tesla_pair_channels(&work->pair, &work->rest, tesla_pair_dsp);
    work->pair.first += 2u * work->outputs;
    work->pair.second += 2u * work->outputs;
}

/* The same where the second one is the first of a row. */
static TESLA_NOINLINE void across_rows(work_t *work, const int16_t *first, const int16_t *second) {
    const bool fours = work->words == 2u && work->over == 0u;
    two_pixels(work, fours ? gather_4 : gather_any, first, second);
}

/* What gathers pixels of one row fastest: rows of three taps of three channels, or of four of one,
 * are common. */
static gather_t fastest_gather(const work_t *work) {
    if (work->words == 4u && work->over == 1u && work->lines.window->height == 3u) {
        return gather_3x9;
    }
    return work->words == 2u && work->over == 0u ? gather_4 : gather_any;
}

/* Row after row, so that two pixels may be the last one of a row and the first one of the next. */
static void all_pixels(work_t *work) {
    tesla_lines_t *lines = &work->lines;
    const tesla_window_t *window = lines->window;
    const uint32_t step = window->stride_width * lines->channels;
    const gather_t gather = fastest_gather(work);
    const int16_t *first = NULL;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const uint32_t row = y * window->stride_height;
        const int16_t *next = &lines->rows[row % lines->slots * lines->pitch];
        const int16_t *below = next_row(work, next);
        uint32_t left = window->output_width;
        work->rows[0] = (int32_t)(below - next);
        work->rows[1] = (int32_t)(next_row(work, below) - next);
        tesla_lines_load(lines, row + lines->slots - window->stride_height);
        if (first != NULL) {
            across_rows(work, first, next);
            first = NULL;
            next += step;
            --left;
        }
        for (; left >= 2u; left -= 2u) {
            two_pixels(work, gather, next, next + step);
            next += 2u * step;
        }
        first = left != 0u ? next : NULL;
    }
    if (first != NULL) { /* the last of an odd number is computed twice */
        work->pair.second = work->pair.first;
        across_rows(work, first, first);
    }
}

void tesla_conv2d_flat_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                           const int8_t *input, const int8_t *weights, void *scratch,
                           int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t length = (uint32_t)window->width * layer->full_channels;
    work_t work;
    tesla_lines_set(&work.lines, layer, input, region->input_zero);
    work.outputs = region->output_channels;
    work.words = length / 2u;
    work.over = length % 2u;
    const uint32_t around = work.lines.pitch * work.lines.slots;
    work.apart = window->height > 1u ? work.lines.pitch * window->dilation_height : 0u;
    work.back = around - work.apart;
    tesla_pair_t *pair = &work.pair;
    tesla_pair_begin(pair, region, weights);
    const uint32_t quads = (window->height * length + 3u) / 4u;
    tesla_pair_quads(pair, quads, quads);
    tesla_pair_set_rest(&work.rest, pair, work.outputs);
    work.wide = (int16_t *)scratch;
    work.lines.rows = &work.wide[quads * 8u];
    work.end = &work.lines.rows[around];
    pair->input = work.wide;
    pair->first = output;
    pair->second = output + work.outputs;
    tesla_clear(work.wide, quads * 4u + around / 2u); /* the weights of what fills it are zero */
    all_pixels(&work);
    tesla_clamp_outputs(region->activation_min, region->activation_max, output,
                        (uint32_t)window->output_height * window->output_width * work.outputs);
}
