/* Convolution of 3 by 3 taps with stride 1, int8, for the DSP instructions: two tiles of 2 by 2
 * outputs at a time, with 16 products for 36 (tesla/winograd.h). */
#include "tesla/clamp.h"
#include "tesla/kernels.h"
#include "tesla/widen.h"
#include "tesla/winograd.h"

#include <stdbool.h>

enum {
    WIDTH = 4,
    HEIGHT = 2 /* outputs of two tiles */
};

/* Four rows of the image, of which some may lie beside it, and where their columns go. */
typedef struct {
    const int8_t *rows[4];
    uint32_t step; /* bytes from a pixel to the next */
    bool whole;    /* no row lies beside the image */
    const int8_t *padding;
    const tesla_packed_region_t *region;
    uint32_t width;
    int16_t *inputs;
} band_t;

/* The rows of a band whose upper one is `y`, which counts modulo 2^32 above the image. */
static void set_rows(band_t *band, const tesla_window_t *window, const int8_t *input, uint32_t y) {
    band->whole = true;
    for (uint32_t i = 0; i < 4u; ++i) {
        const bool inside = y + i < window->input_height;
        band->rows[i] = inside ? &input[(y + i) * band->width * band->step] : band->padding;
        band->whole = band->whole && inside;
    }
}

/* The last inputs of a column, fewer than four in each row. */
static TESLA_NOINLINE void rest_of_column(const band_t *band,
                                          const tesla_winograd_columns_t *column) {
    const uint32_t channels = band->region->input_channels;
    tesla_winograd_columns_t rest = *column;
    const int8_t zero = (int8_t)-band->region->input_offset;
    uint32_t words[4];
    for (uint32_t i = 0; i < 4u; ++i) {
        words[i] = tesla_some(&column->rows[i][channels & ~3u], channels % 4u, zero);
        rest.rows[i] = (const int8_t *)&words[i];
    }
    rest.output += channels / 4u * TESLA_WINOGRAD_QUAD;
    rest.quads = 1;
    tesla_winograd_columns(&rest);
}

/* Transforms column `x` of the band and makes it number `place` of two tiles. */
static TESLA_NOINLINE void set_column(const band_t *band, uint32_t x, uint32_t place) {
    const uint32_t channels = band->region->input_channels;
    const bool inside = x < band->width;
    tesla_winograd_columns_t column;
    for (uint32_t i = 0; i < 4u; ++i) {
        const bool pixel = inside && band->rows[i] != band->padding;
        column.rows[i] = pixel ? band->rows[i] + x * band->step : band->padding;
    }
    column.output = tesla_winograd_place(band->inputs, place);
    column.offset = tesla_twice(band->region->input_offset);
    column.quads = channels / 4u;
    column.columns = 1;
    if (column.quads != 0u) {
        tesla_winograd_columns(&column);
    }
    if (channels % 4u != 0u) {
        rest_of_column(band, &column);
    }
}

/* The same for `count` columns, 2 or 4, from number 2 on: together where they are all there. */
static TESLA_NOINLINE void set_columns(const band_t *band, uint32_t x, uint32_t count) {
    const uint32_t channels = band->region->input_channels;
    if (band->whole && channels % 4u == 0u && x < band->width && band->width - x >= count) {
        const uint32_t at = x * channels;
        const tesla_winograd_columns_t columns = {
            {band->rows[0] + at, band->rows[1] + at, band->rows[2] + at, band->rows[3] + at},
            tesla_winograd_place(band->inputs, 2),
            tesla_twice(band->region->input_offset),
            channels / 4u,
            count};
        tesla_winograd_columns(&columns);
        return;
    }
    for (uint32_t i = 0; i < count; ++i) {
        set_column(band, x + i, 2u + i);
    }
}

/* Columns that stand as 2 and 3 of two tiles become what is kept of the tiles before. */
static void keep(const int16_t *inputs, int16_t *kept, uint32_t quads) {
    for (uint32_t row = quads * 4u; row != 0u; --row) {
        tesla_copy(kept, &inputs[20], 8);
        tesla_copy(&kept[4], &inputs[4], 8);
        inputs += TESLA_WINOGRAD_QUAD / 4;
        kept += TESLA_WINOGRAD_KEPT / 4;
    }
}

/* The block of the last `rest` channels, of which others are not active: outputs and constants of
 * its own. */
static TESLA_NOINLINE void last_block(const tesla_winograd_t *tiles, uint32_t rest,
                                      uint32_t pitch) {
    const uint32_t before = tiles->blocks * 4u;
    tesla_winograd_t part = *tiles;
    const tesla_channel_t none = {0, 0, 0, 1};
    tesla_channel_t last[4] = {none, none, none, none};
    int8_t outputs[HEIGHT][WIDTH * 4];
    for (uint32_t i = 0; i < rest; ++i) {
        last[i] = tiles->channels[before + i];
    }
    part.weights = &tiles->weights[tiles->blocks * pitch];
    part.channels = last;
    part.first = outputs[0];
    part.second = outputs[1];
    part.apart = 4;
    part.blocks = 1;
    tesla_winograd_blocks(&part);
    for (uint32_t i = 0; i < WIDTH * rest; ++i) {
        const uint32_t pixel = i / rest;
        const uint32_t to = pixel * tiles->apart + before + i % rest;
        tiles->first[to] = outputs[0][pixel * 4u + i % rest];
        tiles->second[to] = outputs[1][pixel * 4u + i % rest];
    }
}

void tesla_conv2d_winograd_dsp(const tesla_conv2d_t *layer, const tesla_packed_region_t *region,
                               const int8_t *input, const int16_t *weights, void *scratch,
                               int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t outputs = region->output_channels;
    const uint32_t width = window->output_width;
    const uint32_t height = window->output_height;
    const uint32_t quads = (region->input_channels + 3u) / 4u;
    const uint32_t full_quads = (layer->full_channels + 3u) / 4u;
    int16_t *const inputs = (int16_t *)scratch;
    int16_t *const kept = &inputs[quads * TESLA_WINOGRAD_QUAD];
    int32_t *const sums = (int32_t *)(void *)&kept[quads * TESLA_WINOGRAD_KEPT];
    int8_t *const padding = (int8_t *)&sums[TESLA_WINOGRAD_SUMS];
    band_t band = {{0},    region->input_channels, false, padding,
                   region, window->input_width,    inputs};
    tesla_winograd_t tiles = {
        inputs,       weights, region->channels,           output, output, sums,
        outputs / 4u, quads,   (full_quads - quads) * 32u, outputs};
    tesla_fill(padding, (uint8_t)-region->input_offset, region->input_channels);
    for (uint32_t row = 0; row < height; row += HEIGHT) {
        const uint32_t y = row + HEIGHT > height ? height - HEIGHT : row; /* the last may overlap */
        set_rows(&band, window, input, y - window->pad_top);
        for (uint32_t start = 0; start < width; start += WIDTH) {
            const uint32_t x = start + WIDTH > width ? width - WIDTH : start;
            const uint32_t at = x - window->pad_left;
            if (start == 0u || x != start) { /* no tiles before have the first columns */
                set_columns(&band, at, 2);
                keep(inputs, kept, quads);
            }
            set_columns(&band, at + 2u, 4);
            tesla_winograd_tiles(inputs, kept, quads);
            tiles.first = &output[(y * width + x) * outputs];
            tiles.second = tiles.first + width * outputs;
            if (tiles.blocks != 0u) {
                tesla_winograd_blocks(&tiles);
            }
            if (outputs % 4u != 0u) {
                last_block(&tiles, outputs % 4u, full_quads * 256u);
            }
        }
    }
    tesla_clamp_outputs(region->activation_min, region->activation_max, output,
                        height * width * outputs);
}
