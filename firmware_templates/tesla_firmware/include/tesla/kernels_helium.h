/* The kernels for Helium: a part of tesla/kernels.h, which says what their contracts mean. */
#ifndef TESLA_KERNELS_HELIUM_H
#define TESLA_KERNELS_HELIUM_H

#include "tesla/layers.h"
#include "tesla/packed.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Kernels for Helium, the vectors of Cortex-M55 and M85, on packed weights
 * (docs/kernels-helium.md); the same bits as the portable ones. `scratch` keeps nothing between
 * calls. This one reads all inputs until the last output. */
void tesla_fully_connected_helium(const tesla_helium_dense_t *layer,
                                  const tesla_helium_region_t *region, const int8_t *input,
                                  const int8_t *weights, void *scratch, int8_t *output);

/* Any window. Scratch: four patches, 16 bytes for each tap and 16 input channels at full width.
 * Behind four pixels; gathered, if the window has several taps. */
void tesla_conv2d_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                         const int8_t *input, const int8_t *weights, void *scratch, int8_t *output);

/* 3 x 3 pixels, stride 1. Scratch: three padded rows, 16 bytes for each pixel and 16 channels.
 * Behind rows, a whole row of outputs at a time. */
void tesla_conv2d_3x3_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                             const int8_t *input, const int8_t *weights, void *scratch,
                             int8_t *output);

/* No dilation, up to TESLA_HELIUM_ROWS rows of taps. Scratch: four patches, then the padded rows of
 * a window, 16 bytes for each pixel and 16 channels, and 16 bytes more behind each. Behind rows,
 * four pixels at a time. */
void tesla_conv2d_planes_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                                const int8_t *input, const int8_t *weights, void *scratch,
                                int8_t *output);

/* Few input channels, all of them active, up to TESLA_HELIUM_ROWS rows of taps. Scratch: four
 * patches and the padded rows of a window, each with 16 bytes more. Behind rows, four pixels at a
 * time. */
void tesla_conv2d_dense_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                               const int8_t *input, const int8_t *weights, void *scratch,
                               int8_t *output);

/* A multiplier of 1, up to TESLA_HELIUM_ROWS rows of taps, no weight of -128. Scratch: the padded
 * rows of a window of 16 channels. In place, where the output has the size of the input. */
void tesla_depthwise_conv2d_helium(const tesla_helium_depthwise_t *layer,
                                   const tesla_helium_region_t *region, const int8_t *input,
                                   const int8_t *weights, void *scratch, int8_t *output);

/* The same for 3 x 3 pixels and stride 1 or 2 along a row. In place likewise. */
void tesla_depthwise_conv2d_3x3_helium(const tesla_helium_depthwise_t *layer,
                                       const tesla_helium_region_t *region, const int8_t *input,
                                       const int8_t *weights, void *scratch, int8_t *output);

/* As the portable kernels of the same operations: pools behind pixels, the others behind elements.
 */
void tesla_max_pool2d_helium(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                             int8_t *output);
void tesla_average_pool2d_helium(const tesla_window_t *window, uint16_t channels,
                                 const int8_t *input, int8_t *output);
void tesla_mean_helium(const tesla_mean_t *layer, const tesla_rescale_region_t *region,
                       const int8_t *input, int8_t *output);
void tesla_add_helium(const tesla_add_region_t *region, const int8_t *first, const int8_t *second,
                      int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_KERNELS_HELIUM_H */
