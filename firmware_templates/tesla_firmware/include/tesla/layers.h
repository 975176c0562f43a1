/* Parameters of the integer kernels: what is fixed per layer, and what a region changes.
 *
 * Activations are int8, dense, channels innermost: an image is [height][width][channels] with the
 * *active* channels of the region only. Weights are int8 and exist once, at full width; a region
 * uses the leading input and output channels of every filter. */
#ifndef TESLA_LAYERS_H
#define TESLA_LAYERS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One weighted layer in one operating region.
 *
 * accumulator = bias[o] + sum((input + input_offset) * weight)          int32, cannot overflow
 * output      = clamp(requantize(accumulator) + output_offset)
 *
 * requantize(a) scales by multiplier[o] / 2^31 * 2^shift[o] with double rounding (see
 * tesla/requantize.h). The generator has proved that no input can overflow the accumulator. */
typedef struct {
    uint16_t input_channels;  /* active channels read, 1 .. full width */
    uint16_t output_channels; /* active channels computed, 1 .. full width */
    int16_t input_offset;     /* minus the input's zero point, -127 .. 128 */
    int16_t output_offset;    /* the output's zero point, -128 .. 127 */
    int8_t activation_min;    /* clamp of the fused activation */
    int8_t activation_max;
    const int32_t *bias;       /* [output_channels] */
    const int32_t *multiplier; /* [output_channels], Q31, 2^30 .. 2^31 - 1, or 0 */
    const int8_t *shift;       /* [output_channels], positive is to the left, -31 .. 30 */
} tesla_layer_region_t;

/* A fully connected layer. A flattened image is `groups` pixels of several channels each; of every
 * group the leading region->input_channels are present in the input. A plain vector is 1 group. */
typedef struct {
    uint16_t groups;
    uint16_t group_channels; /* weights per group and output: the full width */
} tesla_fully_connected_t;

/* The sliding window of a convolution or pool. Padding taps are skipped: they add zero. */
typedef struct {
    uint16_t input_height;
    uint16_t input_width;
    uint16_t output_height;
    uint16_t output_width;
    uint8_t height; /* of the window, in pixels */
    uint8_t width;
    uint8_t stride_height;
    uint8_t stride_width;
    uint8_t pad_top;
    uint8_t pad_left;
} tesla_window_t;

/* A convolution; weights are [output channels][height][width][full_channels]. */
typedef struct {
    tesla_window_t window;
    uint16_t full_channels; /* input channels at full width */
} tesla_conv2d_t;

#ifdef __cplusplus
}
#endif

#endif /* TESLA_LAYERS_H */
