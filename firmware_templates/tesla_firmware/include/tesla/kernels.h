/* The integer kernels. All are exact, re-entrant and free of allocation; none checks its arguments:
 * the generated code that calls them has been verified before it was written.
 *
 * Working in place. Input and output must not overlap, unless the kernel's comment says
 *   behind elements: outputs are written in ascending order, number i once the elements 0 .. i of
 *                    every input are not needed any more. The output may begin where an input
 *                    begins, or anywhere below.
 *   behind pixels:   output pixels are written in ascending order, and while one is made, only its
 *                    own window of the input is read. The output may begin so far below the input
 *                    that no pixel that is still to be read has been overwritten.
 * Kernels that read further ahead than they say may be called the same way. The distances are
 * worked out in tesla_codegen/inplace.py, from the active channels of every region. */
#ifndef TESLA_KERNELS_H
#define TESLA_KERNELS_H

#include "tesla/kernels_dsp.h"
#include "tesla/layers.h"
#include "tesla/packed.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* y = activation(W x + b), rounded once. No scratch.
 *
 * input    [layer->groups][region->input_channels]
 * weights  [full outputs][layer->groups][layer->group_channels]
 * output   [region->output_channels] */
void tesla_fully_connected_s8(const tesla_fully_connected_t *layer,
                              const tesla_layer_region_t *region, const int8_t *input,
                              const int8_t *weights, int8_t *output);

/* Cross-correlation with zero padding and a fused activation; no dilation. No scratch. Behind
 * pixels.
 *
 * input    [input height][input width][region->input_channels]
 * weights  [full outputs][window height][window width][layer->full_channels]
 * output   [output height][output width][region->output_channels] */
void tesla_conv2d_s8(const tesla_conv2d_t *layer, const tesla_layer_region_t *region,
                     const int8_t *input, const int8_t *weights, int8_t *output);

/* Every channel filtered on its own, with zero padding and a fused activation. No scratch. Behind
 * pixels.
 *
 * input    [input height][input width][region->input_channels]
 * weights  [full outputs][window height][window width]
 * output   [output height][output width][region->input_channels][layer->multiplier] */
void tesla_depthwise_conv2d_s8(const tesla_depthwise_conv2d_t *layer,
                               const tesla_layer_region_t *region, const int8_t *input,
                               const int8_t *weights, int8_t *output);

/* The same three with weights of four bits, two output channels to a byte (tesla/nibbles.h): where
 * int8 weights are [full outputs][...], these are [(full outputs + 1) / 2][...]. */
void tesla_fully_connected_s4(const tesla_fully_connected_t *layer,
                              const tesla_layer_region_t *region, const int8_t *input,
                              const int8_t *weights, int8_t *output);
void tesla_conv2d_s4(const tesla_conv2d_t *layer, const tesla_layer_region_t *region,
                     const int8_t *input, const int8_t *weights, int8_t *output);
void tesla_depthwise_conv2d_s4(const tesla_depthwise_conv2d_t *layer,
                               const tesla_layer_region_t *region, const int8_t *input,
                               const int8_t *weights, int8_t *output);

/* The same three for an input of several parts, as concatenations make: `parts` has `count` entries
 * whose active channels add up to region->input_channels, their full ones to the weights' width.
 * This convolution is also the one for dilated windows. */
void tesla_fully_connected_parts_s8(const tesla_fully_connected_t *layer,
                                    const tesla_layer_region_t *region, const tesla_part_t *parts,
                                    uint32_t count, const int8_t *input, const int8_t *weights,
                                    int8_t *output);
void tesla_conv2d_parts_s8(const tesla_conv2d_t *layer, const tesla_layer_region_t *region,
                           const tesla_part_t *parts, uint32_t count, const int8_t *input,
                           const int8_t *weights, int8_t *output);
void tesla_depthwise_conv2d_parts_s8(const tesla_depthwise_conv2d_t *layer,
                                     const tesla_layer_region_t *region, const tesla_part_t *parts,
                                     uint32_t count, const int8_t *input, const int8_t *weights,
                                     int8_t *output);

/* Kernels for Helium, the vectors of Cortex-M55 and M85, on packed weights
 * (docs/kernels-helium.md); the same bits as the portable ones. `scratch` keeps nothing between
 * calls. */
void tesla_fully_connected_helium(const tesla_helium_dense_t *layer,
                                  const tesla_helium_region_t *region, const int8_t *input,
                                  const int8_t *weights, void *scratch, int8_t *output);

/* Any window. Scratch: four patches, 16 bytes for each tap and 16 input channels at full width. */
void tesla_conv2d_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                         const int8_t *input, const int8_t *weights, void *scratch, int8_t *output);

/* 3 x 3 pixels, stride 1. Scratch: three padded rows, 16 bytes for each pixel and 16 channels. */
void tesla_conv2d_3x3_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                             const int8_t *input, const int8_t *weights, void *scratch,
                             int8_t *output);

/* No dilation, up to TESLA_HELIUM_ROWS rows of taps. Scratch: four patches, then the padded rows of
 * a window, 16 bytes for each pixel and 16 channels, and 16 bytes more behind each. */
void tesla_conv2d_planes_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                                const int8_t *input, const int8_t *weights, void *scratch,
                                int8_t *output);

/* Few input channels, all of them active, up to TESLA_HELIUM_ROWS rows of taps. Scratch: four
 * patches and the padded rows of a window, each with 16 bytes more. */
void tesla_conv2d_dense_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                               const int8_t *input, const int8_t *weights, void *scratch,
                               int8_t *output);

/* A multiplier of 1, up to TESLA_HELIUM_ROWS rows of taps, no weight of -128. Scratch: the padded
 * rows of a window of 16 channels. */
void tesla_depthwise_conv2d_helium(const tesla_helium_depthwise_t *layer,
                                   const tesla_helium_region_t *region, const int8_t *input,
                                   const int8_t *weights, void *scratch, int8_t *output);

/* The same for 3 x 3 pixels and stride 1 or 2 along a row. */
void tesla_depthwise_conv2d_3x3_helium(const tesla_helium_depthwise_t *layer,
                                       const tesla_helium_region_t *region, const int8_t *input,
                                       const int8_t *weights, void *scratch, int8_t *output);

/* As the portable kernels of the same operations. */
void tesla_max_pool2d_helium(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                             int8_t *output);
void tesla_average_pool2d_helium(const tesla_window_t *window, uint16_t channels,
                                 const int8_t *input, int8_t *output);
void tesla_mean_helium(const tesla_mean_t *layer, const tesla_rescale_region_t *region,
                       const int8_t *input, int8_t *output);
void tesla_add_helium(const tesla_add_region_t *region, const int8_t *first, const int8_t *second,
                      int8_t *output);

/* The sum of two tensors with a fused activation. No scratch. Behind elements, of both.
 *
 * first, second, output  [region->size] */
void tesla_add_s8(const tesla_add_region_t *region, const int8_t *first, const int8_t *second,
                  int8_t *output);

/* The largest value in each window; taps outside the image never win. No scratch. Behind pixels.
 *
 * input   [input height][input width][channels]
 * output  [output height][output width][channels] */
void tesla_max_pool2d_s8(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                         int8_t *output);

/* The mean of the taps inside the image, halves rounded away from zero. No scratch. Behind pixels.
 *
 * input   [input height][input width][channels]
 * output  [output height][output width][channels] */
void tesla_average_pool2d_s8(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                             int8_t *output);

/* The mean over all pixels in a quantisation of its own. No scratch. Behind elements.
 *
 * input   [layer->pixels][region->size]
 * output  [region->size] */
void tesla_mean_s8(const tesla_mean_t *layer, const tesla_rescale_region_t *region,
                   const int8_t *input, int8_t *output);

/* The same values in another quantisation, clamped by an activation. No scratch. Behind elements.
 *
 * input, output  [region->size] */
void tesla_rescale_s8(const tesla_rescale_region_t *region, const int8_t *input, int8_t *output);

/* Writes one input of a concatenation to its places in the output. No scratch.
 *
 * input   [region->blocks][region->rescale.size]
 * output  [region->blocks][region->pitch], of which other calls write the rest; must not overlap
 *         the input */
void tesla_concat_s8(const tesla_concat_region_t *region, const int8_t *input, int8_t *output);

/* Zeros around an image. No scratch. Rows are copied in ascending order; the output may begin so
 * far below the input that no row reaches its own source, or one that is still to be copied.
 *
 * input   [layer->height][layer->width][region->channels]
 * output  [top + height + bottom][left + width + right][region->channels] */
void tesla_pad_s8(const tesla_pad_t *layer, const tesla_pad_region_t *region, const int8_t *input,
                  int8_t *output);

/* exp(x) / sum(exp(x)) over every row, in fixed point; outputs count in units of 1/256 from -128
 * on. No scratch: exponentials are computed twice. Behind elements.
 *
 * input, output  [region->rows][region->length] */
void tesla_softmax_s8(const tesla_softmax_region_t *region, const int8_t *input, int8_t *output);

/* A function that is tabulated for all values. No scratch. Behind elements.
 *
 * input, output  [region->size] */
void tesla_lookup_s8(const tesla_lookup_region_t *region, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_KERNELS_H */
