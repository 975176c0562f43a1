/* The clamp of a fused activation, for kernels whose instructions saturate. */
#ifndef TESLA_CLAMP_H
#define TESLA_CLAMP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Clamps `count` finished outputs; does nothing where int8 is no wider than the clamp. */
void tesla_clamp_outputs(int8_t low, int8_t high, int8_t *output, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_CLAMP_H */
