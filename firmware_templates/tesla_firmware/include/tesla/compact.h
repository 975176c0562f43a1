/* Tables of channels as they lie in flash where it is short: see tesla_packed_region_t and
 * tesla_scaled_region_t.
 *
 * Channels follow each other bit by bit, the lowest bit of a byte first: by how much the channel's
 * shift exceeds the least one of the layer, the bias, and the 31-bit mantissa of the factor without
 * its highest bit. `widths` holds the bits of a bias, 1 .. 32, and 64 times those of the excess,
 * 0 .. 3; both together are 32 at most. A byte may follow that is read and not used. */
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
    uint8_t widths;
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
    uint8_t widths;
    uint8_t scale; /* the largest scale of the layer is 1 << scale */
    const int8_t *channels;
} tesla_compact_scaled_region_t;

/* Writes the region and its channels to `memory`, 16 bytes and 16 for each active output, aligned
 * to 8; returns the region. */
const tesla_packed_region_t *tesla_unpack_dsp(const tesla_compact_region_t *row, void *memory);

/* The same for a convolution, 24 bytes and 12 for each active output. */
const tesla_scaled_region_t *tesla_unpack_scaled_dsp(const tesla_compact_scaled_region_t *row,
                                                     void *memory);

/* 32 bits, or as many as a field has and others, from bit `at` on. */
static inline uint32_t tesla_compact_bits(const int8_t *channels, uint32_t at) {
    const int8_t *first = &channels[at / 8u];
    uint32_t word = 0;
    tesla_copy(&word, first, 4);
    return word >> at % 8u | (uint32_t)(uint8_t)first[4] << 1 << (31u - at % 8u);
}

/* Reads the channel at bit `*at` and moves on to the next one: its mantissa below two bits of
 * anything, its bias and its excess. */
static inline uint32_t tesla_compact_channel(const int8_t *channels, uint32_t widths, uint32_t *at,
                                             int32_t *bias, uint32_t *excess) {
    const uint32_t both = widths % 64u + widths / 64u;
    const uint32_t word = tesla_compact_bits(channels, *at);
    const uint32_t mantissa = tesla_compact_bits(channels, *at + both);
    *excess = word & ((1u << widths / 64u) - 1u);
    *bias = (int32_t)(word << (32u - both)) >> (32u - widths % 64u);
    *at += both + 30u;
    return mantissa;
}

#ifdef __cplusplus
}
#endif

#endif /* TESLA_COMPACT_H */
