/* Exact convolutions of 3 by 3 taps by minimal filtering, F(2 x 2, 3 x 3), for the DSP
 * instructions.
 *
 * A tile is 2 by 2 outputs, which need 4 by 4 inputs d. With the filter g,
 *
 *   B' = | 1  0 -1  0 |   2 G = | 2  0  0 |   A' = | 1  1  1  0 |
 *        | 0  1  1  0 |         | 1  1  1 |        | 0  1 -1 -1 |
 *        | 0 -1  1  0 |         | 1 -1  1 |
 *        | 0  1  0 -1 |         | 0  0  2 |
 *
 *   U = (2 G) g (2 G)'      V = B' d B      M = the sum of U V over all channels, place by place
 *
 * A' M A is four times the convolution: 16 products stand for 36. All of them are whole numbers;
 * |U| <= 1152 and |V| <= 1020 fit int16. M and what is made of it count modulo 2^32: only the
 * result has to fit, and the generator has proved that the sums of the layer are below 2^29.
 *
 * Two neighbouring tiles are computed at a time. Their V lies quad by quad of channels, 256 bytes
 * each: [place of 16][inputs 0 and 2, or 1 and 3][tile][2]. */
#ifndef TESLA_WINOGRAD_H
#define TESLA_WINOGRAD_H

#include "tesla/packed.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TESLA_WINOGRAD_QUAD = 128, /* elements of a quad in V */
    TESLA_WINOGRAD_KEPT = 32,  /* of two columns that the next tiles need again */
    TESLA_WINOGRAD_SUMS = 128  /* M of four output channels and two tiles */
};

/* Columns of four inputs each, side by side, to be transformed to B' d. */
typedef struct {
    const int8_t *rows[4]; /* pixels, one below the other: [columns][quads * 4] channels each */
    int16_t *output;       /* in V: the first one's tesla_winograd_place */
    uint32_t offset;       /* the input's offset in both halves of the word */
    uint32_t quads;        /* at least 1 */
    uint32_t columns;      /* 1; or 2 from the place of column 2 or 4 on; or 4 */
} tesla_winograd_columns_t;

/* Two tiles and the blocks of four output channels to compute of each. */
typedef struct {
    const int16_t *inputs;           /* V */
    const int16_t *weights;          /* U: [block][place][full quads][2][4 channels][2] */
    const tesla_channel_t *channels; /* [blocks * 4] */
    int8_t *first;                   /* outputs of the upper left pixel: [blocks * 4] */
    int8_t *second;                  /* of the pixel below it */
    int32_t *sums;                   /* scratch: TESLA_WINOGRAD_SUMS */
    uint32_t blocks;                 /* at least 1 */
    uint32_t quads;                  /* at least 1 */
    uint32_t skip;                   /* bytes of weights behind the active quads of a place */
    uint32_t apart;                  /* bytes from an output pixel to the next one of the row */
} tesla_winograd_t;

/* Where in V the columns 2 .. 5 of two tiles stand before tesla_winograd_tiles: in what that
 * function writes last. */
static inline int16_t *tesla_winograd_place(int16_t *inputs, uint32_t column) {
    return &inputs[4u + (column - 2u) / 2u * 8u + column % 2u * 2u];
}

/* All quads of one column, then of the next one. */
void tesla_winograd_columns(const tesla_winograd_columns_t *columns);

/* V of two tiles: B' d times B. `kept` holds the columns 0 and 1, and the columns 4 and 5
 * afterwards, as [quad][row][inputs 0 and 2, or 1 and 3][column][2]. */
void tesla_winograd_tiles(int16_t *inputs, int16_t *kept, uint32_t quads);

/* Computes whole blocks of the 2 by 4 pixels; outputs are saturated to int8, not clamped further.
 */
void tesla_winograd_blocks(const tesla_winograd_t *tiles);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_WINOGRAD_H */
