/* Tables of channels as they lie in flash where it is short: see tesla_packed_region_t and
 * tesla_scaled_region_t.
 *
 * A channel is its bias in bias_bytes bytes, 2 .. 4, and its factor in four, the lowest first. The
 * factor holds the 31-bit mantissa without its highest bit, and in the two upper bits by how much
 * the channel's shift exceeds the least one of the layer. */
#ifndef TESLA_COMPACT_H
#define TESLA_COMPACT_H

#include "tesla/packed.h"
#include "tesla/string.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One weighted layer in one operating region; the first members are a tesla_packed_region_t's. */
typedef struct {
    uint16_t input_channels;
    uint16_t output_channels;
    int16_t input_offset;
    int8_t activation_min;
    int8_t activation_max;
    int8_t zero;   /* the output's zero point */
    uint8_t shift; /* the least of the layer */
    uint8_t bias_bytes;
    uint8_t once; /* whether the layer rounds once, as fully connected ones do */
    const int8_t *channels;
} tesla_compact_region_t;

/* One convolution in one operating region; the first members are a tesla_scaled_region_t's. */
typedef struct {
    uint16_t input_channels;
    uint16_t output_channels;
    int8_t input_zero;
    int8_t output_zero;
    int8_t activation_min;
    int8_t activation_max;
    uint8_t away;
    uint8_t early;
    uint8_t bias_bytes;
    uint8_t scale; /* the largest scale of the layer is 1 << scale */
    const int8_t *channels;
} tesla_compact_scaled_region_t;

/* Writes the region and its channels to `memory`, 16 bytes and 16 for each active output, aligned
 * to 8; returns the region. */
const tesla_packed_region_t *tesla_unpack_dsp(const tesla_compact_region_t *row, void *memory);

/* The same for a convolution, 24 bytes and 12 for each active output. */
const tesla_scaled_region_t *tesla_unpack_scaled_dsp(const tesla_compact_scaled_region_t *row,
                                                     void *memory);

/* Reads a channel and returns where the next one begins. */
static inline const int8_t *tesla_compact_channel(const int8_t *channel, uint32_t bias_bytes,
                                                  int32_t *bias, uint32_t *factor) {
    const uint32_t unused = 32u - 8u * bias_bytes; /* upper bits, which are the factor's */
    uint32_t word = 0;
    tesla_copy(&word, channel, 4);
    *bias = (int32_t)(word << unused) >> unused;
    tesla_copy(factor, channel + bias_bytes, 4);
    return channel + bias_bytes + 4;
}

/* 31 bits of a factor, the highest set. */
static inline uint32_t tesla_compact_mantissa(uint32_t factor) {
    return (factor & 0x3FFFFFFFu) | 0x40000000u;
}

#ifdef __cplusplus
}
#endif

#endif /* TESLA_COMPACT_H */
