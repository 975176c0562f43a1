/* The heart of convolutions for the DSP instructions: two output pixels, four channels at a time.
 */
#ifndef TESLA_PAIR_H
#define TESLA_PAIR_H

#include "tesla/packed.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Two pixels, `first` and `second`, and the blocks of four output channels to compute of each.
 *
 * Inputs of both pixels alternate word by word: a quad of inputs takes 16 bytes, the words of the
 * inputs 0 and 2 of both pixels, then those of the inputs 1 and 3. Weights of a block take 16 bytes
 * a quad, too (docs/kernels.md); blocks are `pitch` bytes apart. */
typedef struct {
    const int16_t *input;
    const int8_t *weights;                  /* aligned to 4 bytes, as `input` is */
    const tesla_scaled_channel_t *channels; /* [blocks * 4] */
    int8_t *first;                          /* [blocks * 4] outputs */
    int8_t *second;
    uint32_t blocks; /* at least 1 */
    uint32_t quads;  /* at least 1 */
    uint32_t pitch;  /* bytes of weights from one block to the next */
    int32_t rounding;
    uint32_t early;  /* shift before, see tesla_scaled_channel_t */
    uint32_t column; /* of 3 by 3 taps: bytes of inputs from one quad of channels to the next */
    uint32_t pairs;  /* of 3 by 3 taps: how many pairs side by side, at least 1 */
    uint32_t step;   /* of 3 by 3 taps: bytes from behind a pixel's blocks to the next pair's */
} tesla_pair_t;

/* What is added before the shift by 16: a half, the zero point and 128, as outputs are made of
 * unsigned bytes. Scales are so large that the lowest bits make no difference: bit 0 tells that
 * halves go away from zero, bit 1 that there is a shift before. */
static inline int32_t tesla_pair_rounding(const tesla_scaled_region_t *region) {
    const int32_t how = region->away + (region->early != 0u ? 2 : 0);
    return (region->output_zero + 128) * 65536 + 32768 + how;
}

/* Computes whole blocks of one pair; outputs are saturated to int8 and not clamped further. */
void tesla_pair_dsp(const tesla_pair_t *pair);

/* The same for pairs of neighbouring pixels under 3 by 3 taps, side by side. Inputs are columns of
 * three quads, one for each row of taps, the columns of one quad of channels after the other: the
 * first pixel's taps are the columns 0 .. 2 from `input` on, the second pixel's 1 .. 3, and those
 * of the next pair begin two columns on. Weights take 144 bytes for each quad of channels. */
void tesla_pair3x3_dsp(const tesla_pair_t *pair);

/* The block of the last `rest` channels, of which others are not active. */
void tesla_pair_last(const tesla_pair_t *pair, uint32_t rest,
                     void (*blocks)(const tesla_pair_t *pair));

/* Sets what a region says; input, first, second, quads, pitch and column are left to the caller. */
static inline void tesla_pair_begin(tesla_pair_t *pair, const tesla_scaled_region_t *region,
                                    const int8_t *weights) {
    pair->weights = weights;
    pair->channels = region->channels;
    pair->rounding = tesla_pair_rounding(region);
    pair->early = region->early;
    pair->blocks = region->output_channels / 4u;
    pair->column = 0;
    pair->pairs = 1;
    pair->step = 2u * region->output_channels - pair->blocks * 4u;
}

/* Computes any number of output channels, from 1 on, with one of these functions. */
static inline void tesla_pair_channels(const tesla_pair_t *pair, uint32_t channels,
                                       void (*blocks)(const tesla_pair_t *pair)) {
    if (pair->blocks != 0u) {
        blocks(pair);
    }
    if (channels % 4u != 0u) {
        tesla_pair_last(pair, channels % 4u, blocks);
    }
}

/* Clamps `count` finished outputs; does nothing where int8 is no wider than the clamp. */
void tesla_clamp_outputs(int8_t low, int8_t high, int8_t *output, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_PAIR_H */
