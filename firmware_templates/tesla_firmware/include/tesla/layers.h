/* Parameters of the integer kernels: what is fixed per layer, and what a region changes.
 *
 * Activations are int8, dense, channels innermost: an image is [height][width][channels] with the
 * *active* channels of the region only. Weights are int8, or four bits (tesla/nibbles.h), and exist
 * once, at full width; a region uses the leading input and output channels of every filter. */
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
 * requantize(a) scales by multiplier[o] / 2^31 * 2^shift[o]; convolutions round twice, fully
 * connected layers once (see tesla/requantize.h). The generator has proved that no input can
 * overflow the accumulator. */
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

/* The sliding window of a convolution or pool. Padding taps are skipped: they add zero. Pools have
 * no dilation. */
typedef struct {
    uint16_t input_height;
    uint16_t input_width;
    uint16_t output_height;
    uint16_t output_width;
    uint8_t height; /* of the window, in taps */
    uint8_t width;
    uint8_t stride_height; /* pixels from one window to the next */
    uint8_t stride_width;
    uint8_t dilation_height; /* pixels from one tap to the next */
    uint8_t dilation_width;
    uint8_t pad_top;
    uint8_t pad_left;
} tesla_window_t;

/* A convolution; weights are [output channels][height][width][full_channels]. */
typedef struct {
    tesla_window_t window;
    uint16_t full_channels; /* input channels at full width */
} tesla_conv2d_t;

/* A depthwise convolution; weights are [output channels][height][width]. Input channel c makes the
 * output channels c * multiplier and up. */
typedef struct {
    tesla_window_t window;
    uint16_t multiplier;
} tesla_depthwise_conv2d_t;

/* Channels that were made together. After a concatenation an input has several such parts; of each
 * the leading `active` channels are present in a region, out of `full`. */
typedef struct {
    uint16_t active;
    uint16_t full;
} tesla_part_t;

/* An addition in one operating region.
 *
 * sum    = requantize((first + first_offset) << 20) + requantize((second + second_offset) << 20)
 * output = clamp(requantize(sum) + output_offset)
 *
 * Each with a multiplier and a shift of its own; every factor is below 1, so nothing overflows. */
typedef struct {
    uint32_t size;        /* active elements */
    int16_t first_offset; /* minus the zero point of that input, -127 .. 128 */
    int16_t second_offset;
    int16_t output_offset; /* the output's zero point, -128 .. 127 */
    int8_t activation_min; /* clamp of the fused activation */
    int8_t activation_max;
    int32_t first_multiplier; /* Q31, 2^30 .. 2^31 - 1, or 0 */
    int32_t second_multiplier;
    int32_t output_multiplier;
    int8_t first_shift; /* -31 .. 0 */
    int8_t second_shift;
    int8_t output_shift;
} tesla_add_region_t;

/* The same values in another quantisation, in one operating region.
 *
 * output = clamp(requantize(input + input_offset) + output_offset)
 *
 * A mean has the sum of (input + input_offset) over all pixels in its place, and a multiplier that
 * is divided by their number. */
typedef struct {
    uint32_t size;         /* elements computed */
    int16_t input_offset;  /* minus the input's zero point, -127 .. 128 */
    int16_t output_offset; /* the output's zero point, -128 .. 127 */
    int8_t activation_min; /* clamp of the fused activation */
    int8_t activation_max;
    int8_t shift;       /* -31 .. 23 */
    int32_t multiplier; /* Q31, 0 .. 2^31 - 1 */
} tesla_rescale_region_t;

/* The mean over the pixels of an image. */
typedef struct {
    uint32_t pixels;
} tesla_mean_t;

/* One input of a concatenation in one operating region: `blocks` blocks of rescale.size elements,
 * the first of them at `start` in the output, the next ones `pitch` further each. */
typedef struct {
    uint32_t blocks;
    uint32_t pitch;
    uint32_t start;
    tesla_rescale_region_t rescale;
} tesla_concat_region_t;

/* A softmax over rows of values in one operating region. A difference to the largest value of a row
 * counts in units of 2^-26 once it is shifted to the left by `shift` and multiplied by
 * multiplier / 2^31. */
typedef struct {
    uint32_t rows;
    uint16_t length;    /* values of a row, 1 .. 511 */
    int32_t multiplier; /* Q31, 2^30 .. 2^31 - 1 */
    int16_t smallest;   /* differences below it count as nothing */
    uint8_t shift;      /* 1 .. 31 */
} tesla_softmax_region_t;

/* A function of single values in one operating region. */
typedef struct {
    uint32_t size;       /* active elements */
    const int8_t *table; /* [256], the outputs for -128 .. 127 */
} tesla_lookup_region_t;

/* Padding of an image, in pixels. */
typedef struct {
    uint16_t height; /* of the image without padding */
    uint16_t width;
    uint8_t top;
    uint8_t bottom;
    uint8_t left;
    uint8_t right;
} tesla_pad_t;

/* What a region changes about padding. */
typedef struct {
    uint16_t channels; /* active */
    int8_t value;      /* what stands for zero */
} tesla_pad_region_t;

#ifdef __cplusplus
}
#endif

#endif /* TESLA_LAYERS_H */
