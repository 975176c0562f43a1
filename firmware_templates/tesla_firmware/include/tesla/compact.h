/* Tables of channels as they lie in flash where it is short: see tesla_packed_region_t. */
#ifndef TESLA_COMPACT_H
#define TESLA_COMPACT_H

#include "tesla/packed.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One weighted layer in one operating region; the first members are a tesla_packed_region_t's.
 *
 * A factor holds the mantissa without its highest bit, and in the two upper bits by how much the
 * channel's shift exceeds `shift`. Each bias has bias_bytes bytes, 2 .. 4, lowest first. */
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
    const int32_t *factors;
    const int8_t *bias;
} tesla_compact_region_t;

/* Writes the region and its channels to `memory`, 16 bytes and 16 for each active output, aligned
 * to 8; returns the region. */
const tesla_packed_region_t *tesla_unpack_dsp(const tesla_compact_region_t *row, void *memory);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_COMPACT_H */
