/* Convolution, int8, for the DSP instructions: the inputs of two pixels are gathered as int16, then
 * all their outputs are computed over packed weights. */
#include "tesla/clamp.h"
#include "tesla/columns.h"
#include "tesla/kernels.h"
#include "tesla/pair.h"
#include "tesla/widen.h"

#include <stdbool.h>

/* An image and what lies around it: `padding` holds a pixel of zero points. */
typedef struct {
    tesla_pair_t pair;
    tesla_pair_rest_t rest;
    const tesla_window_t *window;
    const int8_t *input;
    const int8_t *padding;
    const int8_t **border; /* [taps][2] */
    int16_t *wide;
    uint32_t channels;
    uint32_t outputs;
    uint32_t taps;
    uint32_t next; /* bytes from one tap to the next */
    uint32_t row;  /* and from one row of taps to the next */
    int16_t offset;
    bool threes; /* rows of three taps and whole quads of channels */
} work_t;

/* Where tap 0, 0 of an output pixel meets the image, or lies beside it: `at` bytes from the input's
 * beginning. All wrap around in front of the image. */
typedef struct {
    uint32_t at;
    uint32_t y;
    uint32_t x;
    bool inside; /* whether all taps lie in the image */
} place_t;

/* The inputs of two pixels under all taps, which lie in the image. */
static void gather_any(const work_t *work, const int8_t *a, const int8_t *b) {
    const uint32_t channels = work->channels;
    const uint32_t pitch = work->taps * 8u;
    const uint32_t next = work->next;
    int16_t *wide = work->wide;
    for (uint32_t left = work->window->height; left != 0u; --left) {
        for (uint32_t x = 0; x < work->window->width; ++x) {
            tesla_widen_two(wide, &a[x * next], &b[x * next], channels, work->offset, pitch);
            wide += 8;
        }
        a += work->row;
        b += work->row;
    }
}

/* The same for rows of three taps and whole quads of channels. */
static TESLA_INLINE void gather_threes(const work_t *work, const int8_t *a, const int8_t *b) {
    const uint32_t quads = work->channels / 4u;
    const uint32_t pitch = work->taps * 8u;
    const uint32_t offset = tesla_twice(work->offset);
    int16_t *wide = work->wide;
    for (uint32_t left = work->window->height; left != 0u; --left) {
        tesla_three_columns(wide, a, b, work->next, quads, pitch, offset);
        wide += 24;
        a += work->row;
        b += work->row;
    }
}

/* Where the inputs of a pixel are under all taps, the padding included: every second entry of
 * `taps`. */
static void find_taps(const work_t *work, const place_t *place, const int8_t **taps) {
    const tesla_window_t *window = work->window;
    const int8_t *const input = work->input;
    const int8_t *const padding = work->padding;
    const uint32_t columns = window->input_width;
    const uint32_t apart = window->dilation_width;
    const uint32_t next = work->next;
    uint32_t y = place->y;
    uint32_t row = place->at;
    for (uint32_t left = window->height; left != 0u; --left) {
        const uint32_t inner = y < window->input_height ? columns : 0u;
        const uint32_t end = place->x + window->width * apart; /* wraps around as x does */
        uint32_t at = row;
        for (uint32_t x = place->x; x != end; x += apart) {
            *taps = x < inner ? &input[at] : padding;
            taps += 2;
            at += next;
        }
        y += window->dilation_height;
        row += work->row;
    }
}

/* Three taps of both pixels, found before, for all quads of channels. */
static TESLA_INLINE void three_taps(int16_t *wide, const int8_t *const taps[6], uint32_t channels,
                                    uint32_t pitch, uint32_t offset) {
    for (uint32_t c = 0; c < channels; c += 4u) {
        for (uint32_t i = 0; i < 3u; ++i) {
            uint32_t first = 0;
            uint32_t second = 0;
            tesla_copy(&first, &taps[2u * i][c], 4);
            tesla_copy(&second, &taps[2u * i + 1u][c], 4);
            tesla_widen_word_two(wide + 8u * i, first, second, offset);
        }
        wide += pitch;
    }
}

/* The inputs of two pixels under all taps, some of which lie beside the image. */
static TESLA_NOINLINE void gather_border(const work_t *work, const place_t *first,
                                         const place_t *second) {
    const int8_t *const *taps = work->border;
    const uint32_t channels = work->channels;
    const uint32_t pitch = work->taps * 8u;
    const int16_t offset = work->offset;
    int16_t *wide = work->wide;
    uint32_t left = work->taps;
    find_taps(work, first, work->border);
    find_taps(work, second, work->border + 1);
    for (; channels % 4u == 0u && left >= 3u; left -= 3u) {
        three_taps(wide, taps, channels, pitch, tesla_twice(offset));
        taps += 6;
        wide += 24;
    }
    for (; left != 0u; --left) {
        tesla_widen_two(wide, taps[0], taps[1], channels, offset, pitch);
        taps += 2;
        wide += 8;
    }
}

static TESLA_INLINE void compute(work_t *work) {
    tesla_pair_channels(&work->pair, &work->rest, tesla_pair_dsp);
    work->pair.first += 2u * work->outputs;
    work->pair.second += 2u * work->outputs;
}

/* Two pixels, some of whose taps lie beside the image. */
static TESLA_NOINLINE void two_at_border(work_t *work, const place_t *first,
                                         const place_t *second) {
    gather_border(work, first, second);
    compute(work);
}

/* Two pixels whose taps lie in the image. */
static TESLA_NOINLINE void two_inside(work_t *work, uint32_t first, uint32_t second) {
    const int8_t *const a = &work->input[first];
    const int8_t *const b = &work->input[second];
    if (work->threes) {
        gather_threes(work, a, b);
    } else {
        gather_any(work, a, b);
    }
    compute(work);
}

static TESLA_INLINE void two_pixels(work_t *work, const place_t *first, const place_t *second) {
    if (first->inside && second->inside) {
        two_inside(work, first->at, second->at);
    } else {
        two_at_border(work, first, second);
    }
}

/* How many of the first places of a window keep its taps within an axis of the image. */
static uint32_t inner_places(uint32_t length, uint32_t taps, uint32_t dilation) {
    const uint32_t span = (taps - 1u) * dilation;
    return length > span ? length - span : 0u;
}

/* Row after row, so that two pixels may be the last one of a row and the first one of the next. */
static void all_pixels(work_t *work) {
    const tesla_window_t *window = work->window;
    const uint32_t down =
        inner_places(window->input_height, window->height, window->dilation_height);
    const uint32_t right = inner_places(window->input_width, window->width, window->dilation_width);
    const uint32_t stride = window->stride_width;
    const uint32_t step = stride * work->channels;
    bool waiting = false;
    place_t place = {0, 0, 0, false};
    place_t first = place;
    place.y = 0u - window->pad_top;
    for (uint32_t y = window->output_height; y != 0u; --y) {
        const uint32_t inner = place.y < down ? right : 0u;
        uint32_t left = window->output_width;
        place.x = 0u - window->pad_left;
        place.at = (place.y * window->input_width + place.x) * work->channels;
        while (left != 0u) {
            if (!waiting && left >= 2u && place.x < inner && place.x + stride < inner) {
                two_inside(work, place.at, place.at + step);
                place.x += 2u * stride;
                place.at += 2u * step;
                left -= 2u;
                continue;
            }
            place.inside = place.x < inner;
            if (waiting) {
                two_pixels(work, &first, &place);
            } else {
                first = place;
            }
            waiting = !waiting;
            place.x += stride;
            place.at += step;
            --left;
        }
        place.y += window->stride_height;
    }
    if (waiting) { /* the last of an odd number is computed twice */
        work->pair.second = work->pair.first;
        two_pixels(work, &first, &first);
    }
}

void tesla_conv2d_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                      const int8_t *input, const int8_t *weights, void *scratch, int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->input_channels;
    const uint32_t outputs = region->output_channels;
    const uint32_t pixels = (uint32_t)window->output_height * window->output_width;
    work_t work;
    work.window = window;
    work.input = input;
    work.channels = channels;
    work.outputs = outputs;
    work.taps = (uint32_t)window->height * window->width;
    work.next = channels * window->dilation_width;
    work.row = channels * window->input_width * window->dilation_height;
    work.offset = (int16_t)-region->input_zero;
    work.threes = window->width == 3u && channels % 4u == 0u;
    work.wide = (int16_t *)scratch;
    tesla_pair_begin(&work.pair, region, weights);
    work.pair.input = work.wide;
    const uint32_t quads = (channels + 3u) / 4u * work.taps;
    tesla_pair_quads(&work.pair, (layer->full_channels + 3u) / 4u * work.taps, quads);
    tesla_pair_set_rest(&work.rest, &work.pair, outputs);
    work.pair.first = output;
    work.pair.second = output + outputs;
    work.border = (const int8_t **)(void *)&work.wide[quads * 8u];
    int8_t *const padding = (int8_t *)&work.border[2u * work.taps];
    work.padding = padding;
    tesla_pair_fill(padding, region->input_zero, channels);
    all_pixels(&work);
    tesla_clamp_outputs(region->activation_min, region->activation_max, output, pixels * outputs);
}
