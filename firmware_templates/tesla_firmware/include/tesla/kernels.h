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
 *   behind n pixels: the same n pixels at a time. If they are gathered, all their windows are read
 *                    before one of them is written; else while they are written, too.
 *   behind rows:     before a pixel, or n of them, is written, all rows of the input under the last
 *                    one's window have been read, and rows above that are not read again.
 *   behind strips:   some rows of outputs at a time; the rows under them are read until these
 *                    outputs are complete.
 *   behind tiles:    some rows of some pixels at a time, from left to right; all their windows are
 *                    read before one of them is written. The last tiles of a row, and the last
 *                    rows, may begin within those before.
 *   in place:        an output may be written where its input is, channel for channel, and nowhere
 *                    else in the input.
 * Kernels that read further ahead than they say may be called the same way. The distances are
 * worked out in tesla_codegen/leads.py, from the active channels of every region. Scratch memory
 * never overlaps input or output. */
#ifndef TESLA_KERNELS_H
#define TESLA_KERNELS_H

#include "tesla/compact.h"
#include "tesla/kernels_dsp.h"
#include "tesla/kernels_helium.h"
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
