/* The kernels for the DSP instructions: a part of tesla/kernels.h, which says what their contracts
 * mean. */
#ifndef TESLA_KERNELS_DSP_H
#define TESLA_KERNELS_DSP_H

#include "tesla/layers.h"
#include "tesla/packed.h"
#include "tesla/plane.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Kernels for the DSP instructions of Cortex-M4, M7 and M33, on packed weights (docs/kernels.md);
 * the same bits as the portable ones. `scratch` is aligned to 8 bytes and keeps nothing between
 * calls. Behind elements: all inputs are read before the first output is written.
 *
 * input    [layer->groups][region->input_channels]
 * weights  [full outputs / 4][layer->groups][layer->group_channels / 4][16 bytes], and 8 bytes each
 *          for one or two outputs behind the last four
 * scratch  2 bytes for each input, channels rounded up to a multiple of 4
 * output   [region->output_channels] */
void tesla_fully_connected_dsp(const tesla_dsp_dense_t *layer, const tesla_packed_region_t *region,
                               const int8_t *input, const int8_t *weights, void *scratch,
                               int8_t *output);

/* Any window, strides, dilation and padding. Behind two pixels, gathered.
 *
 * input    [input height][input width][region->input_channels]
 * weights  [full outputs / 4][layer->full_channels / 4][height][width][16 bytes]
 * scratch  (16 * height * width + 4) bytes for each 4 input channels, 2 pointers for each tap
 * output   [output height][output width][region->output_channels] */
void tesla_conv2d_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                      const int8_t *input, const int8_t *weights, void *scratch, int8_t *output);

/* The same for one tap on pixels of the image, without padding. Behind two pixels, gathered.
 *
 * weights  [full outputs / 4][layer->full_channels / 4][16 bytes]
 * scratch  16 bytes for each 4 input channels */
void tesla_conv2d_1x1_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                          const int8_t *input, const int8_t *weights, void *scratch,
                          int8_t *output);

/* The same for images whose channels are all active in every region, without dilation in width.
 * Behind rows, two pixels at a time.
 *
 * Of a row of taps, width * layer->full_channels inputs, an even number comes first; what rows
 * have left follows after the last row.
 *
 * weights  [full outputs / 4][height * width * layer->full_channels / 4][16 bytes]; the two inputs
 *          of a word follow each other
 * scratch  16 bytes for each 4 inputs of a window, and 2 for each input of as many padded rows of
 *          the image as a window spans, and stride height more
 */
void tesla_conv2d_flat_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                           const int8_t *input, const int8_t *weights, void *scratch,
                           int8_t *output);

/* The same for 3 by 3 taps, stride 1 without dilation, and outputs at least two pixels wide. Behind
 * rows, a whole row of outputs at a time.
 *
 * weights  [full outputs / 4][layer->full_channels / 4][144 bytes]
 * scratch  24 * (output width + 2) bytes for each 4 input channels */
void tesla_conv2d_3x3_dsp(const tesla_conv2d_t *layer, const tesla_scaled_region_t *region,
                          const int8_t *input, const int8_t *weights, void *scratch,
                          int8_t *output);

/* The same for outputs at least four pixels wide and two high, with fewer products of more weights
 * (tesla/winograd.h). Behind tiles of two by four pixels.
 *
 * weights  [full outputs / 4][16][layer->full_channels / 4][16]
 * scratch  324 bytes for each 4 input channels, and 512 */
void tesla_conv2d_winograd_dsp(const tesla_conv2d_t *layer, const tesla_packed_region_t *region,
                               const int8_t *input, const int16_t *weights, void *scratch,
                               int8_t *output);

/* 3 by 3 taps, a multiplier of 1, stride 1 or 2 in both directions, any padding, no dilation.
 * Behind strips of layer->strip rows, where lines are rows; in place, where one strip holds all
 * lines and the output has the size of the input.
 *
 * input    [input height][input width][region->input_channels]
 * weights  [full outputs][3][3], by columns if the layer is
 * scratch  8 * layer->pitch bytes for each line of a strip's input: 3, and stride for each further
 *          line of its output
 * output   [output height][output width][region->output_channels] */
void tesla_depthwise_conv2d_dsp(const tesla_depthwise_plane_t *layer,
                                const tesla_packed_region_t *region, const int8_t *input,
                                const int8_t *weights, void *scratch, int8_t *output);

/* As tesla_max_pool2d_s8. Behind pixels. */
void tesla_max_pool2d_dsp(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                          int8_t *output);

/* As tesla_mean_s8. Behind elements. */
void tesla_mean_dsp(const tesla_mean_t *layer, const tesla_rescale_region_t *region,
                    const int8_t *input, int8_t *output);

/* As tesla_average_pool2d_s8. Behind pixels. */
void tesla_average_pool2d_dsp(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                              int8_t *output);

/* As tesla_add_s8, which the generator has compared them with for every pair of inputs. Behind
 * elements, of both. */
void tesla_add_once_dsp(const tesla_add_once_t *region, const int8_t *first, const int8_t *second,
                        int8_t *output);

/* As tesla_add_s8. Behind elements, of both. */
void tesla_add_dsp(const tesla_add_scaled_t *row, const int8_t *first, const int8_t *second,
                   int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_KERNELS_DSP_H */
