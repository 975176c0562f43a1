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
    const int8_t *weights;           /* aligned to 4 bytes, as `input` is */
    const tesla_channel_t *channels; /* [blocks * 4] */
    int8_t *first;                   /* [blocks * 4] outputs */
    int8_t *second;
    uint32_t blocks; /* at least 1 */
    uint32_t quads;  /* at least 1 */
    uint32_t pitch;  /* bytes of weights from one block to the next */
    uint32_t column; /* of 3 by 3 taps: bytes of inputs from one quad of channels to the next */
} tesla_pair_t;

/* Computes whole blocks; outputs are saturated to int8 and not clamped further. */
void tesla_pair_dsp(const tesla_pair_t *pair);

/* The same for neighbouring pixels under 3 by 3 taps, side by side. Inputs are columns of three
 * quads, one for each row of taps, the columns of one quad of channels after the other: the first
 * pixel's taps are the columns 0 .. 2 from `input` on, the second pixel's 1 .. 3. Weights take 144
 * bytes for each quad of channels. */
void tesla_pair3x3_dsp(const tesla_pair_t *pair);

/* Computes any number of output channels, from 1 on, with one of these functions; sets
 * `pair->blocks`. */
void tesla_pair_channels(tesla_pair_t *pair, uint32_t channels,
                         void (*blocks)(const tesla_pair_t *pair));

/* Clamps `count` finished outputs; does nothing where int8 is no wider than the clamp. */
void tesla_clamp_outputs(const tesla_packed_region_t *region, int8_t *output, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_PAIR_H */
