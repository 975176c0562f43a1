/* Parameters of kernels that read packed weights and requantise in few instructions. */
#ifndef TESLA_PACKED_H
#define TESLA_PACKED_H

#include "tesla/layers.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One output channel of a fully connected layer, a depthwise convolution or a convolution with
 * transformed filters (tesla/winograd.h) in one operating region. With the accumulator
 * a = bias + sum, and m the 31-bit mantissa of the channel's factor:
 *
 * convolutions:            h = a + ((a * multiplier + 2^31) >> 32), multiplier = 2 m - 2^32;
 *                          h += h >> 31
 * fully connected layers:  h = (a * multiplier) >> 32, multiplier = m
 * output                   = (h + rounding) >> shift, saturated to int8
 *
 * rounding is 2^(shift - 1) plus the output's zero point << shift. The generator has proved that
 * nothing overflows: |a| < 2^29 and shift is 1 .. 22. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t rounding;
    int32_t shift;
} tesla_channel_t;

/* One layer with such channels in one operating region. */
typedef struct {
    uint16_t input_channels;  /* active channels read, 1 .. full width */
    uint16_t output_channels; /* active channels computed, 1 .. full width */
    int16_t input_offset;     /* minus the input's zero point, -127 .. 128 */
    int8_t activation_min;    /* clamp of the fused activation */
    int8_t activation_max;
    const tesla_channel_t *channels; /* [output_channels] */
} tesla_packed_region_t;

/* One output channel of any other convolution in one operating region:
 *
 * h      = a + ((a * multiplier + 2^31) >> 32), multiplier = 2 m - 2^32; then h += h >> 31, unless
 *          the activation clamps at the output's zero point, where halves make no difference
 * output = (((h >> early) * scale + 2^15) >> 16) + zero point, saturated to int8
 *
 * scale is a power of two, so that the shift is by 16 for all channels. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t scale;
} tesla_scaled_channel_t;

/* One convolution in one operating region. */
typedef struct {
    uint16_t input_channels;  /* active channels read, 1 .. full width */
    uint16_t output_channels; /* active channels computed, 1 .. full width */
    int8_t input_zero;        /* the input's zero point */
    int8_t output_zero;       /* the output's */
    int8_t activation_min;    /* clamp of the fused activation */
    int8_t activation_max;
    uint8_t away;  /* whether halves go away from zero */
    uint8_t early; /* 0, or how far h is shifted before, which needs `away` */
    const tesla_scaled_channel_t *channels; /* [output_channels] */
} tesla_scaled_region_t;

/* A fully connected layer for the DSP instructions: see tesla_fully_connected_t. Odd channels' sums
 * are exact over `part` quads of inputs in sequence. */
typedef struct {
    uint16_t groups;
    uint16_t group_channels;
    uint16_t outputs; /* at full width */
    uint16_t part;
} tesla_dsp_dense_t;

/* The same for Helium.
 *
 * channels: for each pair of output channels { bias, bias, multiplier, shift, multiplier, shift }.
 * The input's offset times the sum of the active weights is part of the bias. */
typedef struct {
    uint16_t input_channels;  /* active channels read, 1 .. full width */
    uint16_t output_channels; /* active channels computed, 1 .. full width */
    int16_t pad;              /* the input's zero point: what stands beside an image */
    int16_t output_offset;    /* the output's zero point */
    int8_t activation_min;
    int8_t activation_max;
    const int32_t *channels;
} tesla_helium_region_t;

/* A depthwise convolution of one filter a channel, over columns where these are the longer lines.
 */
typedef struct {
    tesla_window_t window;
    uint16_t by_columns;
} tesla_helium_depthwise_t;

/* A fully connected layer: see tesla_fully_connected_t. */
typedef struct {
    uint16_t groups;
    uint16_t group_channels;
    uint16_t outputs; /* at full width */
} tesla_helium_dense_t;

/* An addition in one operating region that rounds once:
 *
 * output = clamp((((first * first_factor) >> 8) + ((second * second_factor) >> 8) + constant) >>
 * 20)
 *
 * Nothing overflows, and every pair of inputs gives what tesla_add_s8 makes of it. */
typedef struct {
    uint32_t size; /* active elements */
    int32_t first_factor;
    int32_t second_factor;
    int32_t constant;
    int8_t activation_min; /* clamp of the fused activation */
    int8_t activation_max;
} tesla_add_once_t;

/* An addition in one operating region. The input with the larger scale is halved, the other one
 * scaled to it; with h(a, m) = a + ((a * m + 2^31) >> 32), halves away from zero,
 *
 * sum    = ((larger + larger_offset) << 19)
 *          + ((h((smaller + smaller_offset) << 20, multiplier) + rounding) >> shift)
 * output = clamp((h(sum, output_multiplier) + output_rounding) >> output_shift)
 *
 * The output's zero point is part of output_rounding; everything stays below 2^29. */
typedef struct {
    uint32_t size;         /* active elements */
    int16_t larger_offset; /* minus the zero point of that input, -127 .. 128 */
    int16_t smaller_offset;
    int8_t activation_min; /* clamp of the fused activation */
    int8_t activation_max;
    uint8_t swapped; /* whether the second input has the larger scale */
    uint8_t shift;   /* 1 .. 22, or 0 where both scales are the same: then it is halved, too */
    int32_t multiplier;
    int32_t rounding;
    int32_t output_multiplier;
    int32_t output_rounding;
    int32_t output_shift; /* 1 .. 22 */
} tesla_add_scaled_t;

#ifdef __cplusplus
}
#endif

#endif /* TESLA_PACKED_H */
