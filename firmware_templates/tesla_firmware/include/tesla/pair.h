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
    uint32_t own; /* 3 by 3 taps: bytes of inputs from one quad of channels to the next; else how
                   * many bytes into the loop over four quads it is entered */
    const tesla_scaled_channel_t *channels; /* [blocks * 4], at least one block */
    int32_t rounding;
    const int16_t *input;
    uint32_t active; /* bytes of a block's weights that are read, at least one quad */
    int8_t *first;   /* [blocks * 4] outputs */
    int8_t *second;
    uint32_t skipped; /* bytes of a block's weights behind them */
    const tesla_scaled_channel_t *end;
    uint32_t early;        /* shift before, see tesla_scaled_channel_t */
    const int8_t *weights; /* aligned to 4 bytes, as `input` is */
    uint32_t pairs;        /* of 3 by 3 taps: how many pairs side by side, at least 1 */
    uint32_t step; /* of 3 by 3 taps: bytes from behind a pixel's blocks to the next pair's */
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

/* The block of the last `count` channels, 0 .. 3, of which others are not active: its own pair,
 * constants and outputs. */
typedef struct {
    tesla_pair_t pair;
    uint32_t count;
    tesla_scaled_channel_t channels[4];
    int8_t outputs[8];
} tesla_pair_rest_t;

/* Sets up the last block of a pair that has everything but inputs and outputs. */
void tesla_pair_set_rest(tesla_pair_rest_t *rest, const tesla_pair_t *pair, uint32_t channels);

/* Computes all channels where the last block is not whole, with one of these functions. */
void tesla_pair_and_rest(const tesla_pair_t *pair, tesla_pair_rest_t *rest,
                         void (*blocks)(const tesla_pair_t *pair));

/* Sets what a region says; the inputs, the outputs and the bytes of weights are left. */
static inline void tesla_pair_begin(tesla_pair_t *pair, const tesla_scaled_region_t *region,
                                    const int8_t *weights) {
    pair->own = 0;
    pair->weights = weights;
    pair->channels = region->channels;
    pair->end = &region->channels[region->output_channels & ~3u];
    pair->rounding = tesla_pair_rounding(region);
    pair->early = region->early;
    pair->pairs = 1;
    pair->step = 2u * region->output_channels - (region->output_channels & ~3u);
}

/* Sets the quads of inputs for tesla_pair_dsp, all there are and those that are active. */
static inline void tesla_pair_quads(tesla_pair_t *pair, uint32_t quads, uint32_t active) {
    pair->own = (0u - active) % 4u * 96u;
    pair->active = active * 16u;
    pair->skipped = (quads - active) * 16u;
}

/* Computes any number of output channels, from 1 on, with one of these functions. */
static inline void tesla_pair_channels(const tesla_pair_t *pair, tesla_pair_rest_t *rest,
                                       void (*blocks)(const tesla_pair_t *pair)) {
    if (rest->count == 0u) {
        blocks(pair);
    } else {
        tesla_pair_and_rest(pair, rest, blocks);
    }
}

/* Sets `count` bytes; a compiler's own memset, for a few of them, takes hundreds of bytes of code.
 */
void tesla_pair_fill(int8_t *bytes, int8_t value, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_PAIR_H */
