/* All outputs of one pixel whose inputs consist of several parts. */
#ifndef TESLA_PARTS_H
#define TESLA_PARTS_H

#include "tesla/dot.h"
#include "tesla/layers.h"
#include "tesla/requantize.h"

#include <stdbool.h>

/* The taps that one pixel of the output sees, and the steps from one to the next. */
typedef struct {
    const tesla_part_t *parts; /* of every tap */
    uint32_t count;
    uint32_t rows;
    uint32_t columns;
    uint32_t pixel;      /* input elements from one tap to the next */
    uint32_t image_row;  /* input elements from one row of taps to the next */
    uint32_t tap;        /* weights from one tap to the next */
    uint32_t filter_row; /* weights from one row of taps to the next */
    uint32_t filter;     /* weights from one filter to the next */
    bool once;           /* whether outputs are rounded once, as fully connected layers are */
} tesla_patch_t;

/* Adds the dot products of `filters` filters, 1 or 4, the first of them at `weights`. */
static inline void tesla_patch_sums(const tesla_patch_t *patch, const int8_t *input,
                                    const int8_t *weights, int32_t offset, uint32_t filters,
                                    int32_t sums[4]) {
    for (uint32_t y = 0; y < patch->rows; ++y) {
        for (uint32_t x = 0; x < patch->columns; ++x) {
            const int8_t *values = &input[y * patch->image_row + x * patch->pixel];
            const int8_t *tap = &weights[y * patch->filter_row + x * patch->tap];
            for (uint32_t p = 0; p < patch->count; ++p) {
                const uint32_t active = patch->parts[p].active;
                if (filters == 4u) {
                    tesla_dot4(sums, values, tap, patch->filter, active, offset);
                } else {
                    sums[0] = tesla_dot1(sums[0], values, tap, active, offset);
                }
                values += active;
                tap += patch->parts[p].full;
            }
        }
    }
}

/* `weights` is the first filter's first tap inside the image, `input` what it meets. */
static inline void tesla_patch_outputs(const tesla_patch_t *patch,
                                       const tesla_layer_region_t *region, const int8_t *input,
                                       const int8_t *weights, int8_t *output) {
    uint32_t out = 0;
    while (out < region->output_channels) {
        const uint32_t filters = out + 4u <= region->output_channels ? 4u : 1u;
        int32_t sums[4] = {0, 0, 0, 0};
        for (uint32_t i = 0; i < filters; ++i) {
            sums[i] = region->bias[out + i];
        }
        tesla_patch_sums(patch, input, &weights[out * patch->filter], region->input_offset, filters,
                         sums);
        for (uint32_t i = 0; i < filters; ++i) {
            output[out + i] = patch->once ? tesla_finish_once(region, out + i, sums[i])
                                          : tesla_finish(region, out + i, sums[i]);
        }
        out += filters;
    }
}

#endif /* TESLA_PARTS_H */
