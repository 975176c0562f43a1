/* The hook through which a model shows its layers while it runs. */
#ifndef TESLA_CALLBACK_H
#define TESLA_CALLBACK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Called once after each layer of a run, in order of execution.
 *
 * user    the pointer given together with the callback
 * layer   0 .. layer_count - 1, in order of execution
 * output  the layer's result: the active elements only, densely packed in the order of the region's
 *         stand-alone network (batch 1: H, W, C). Valid until the callback returns; do not write.
 * size    bytes at `output`
 */
typedef void (*tesla_layer_callback_t)(void *user, uint16_t layer, const int8_t *output,
                                       uint32_t size);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_CALLBACK_H */
