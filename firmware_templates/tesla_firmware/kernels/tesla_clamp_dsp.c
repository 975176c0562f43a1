/* The clamp of a fused activation, after outputs were saturated. */
#include "tesla/clamp.h"

void tesla_clamp_outputs(int8_t low, int8_t high, int8_t *output, uint32_t count) {
    if (low == INT8_MIN && high == INT8_MAX) {
        return;
    }
#pragma GCC unroll 1
    for (uint32_t i = 0; i < count; ++i) {
        const int8_t value = output[i] < low ? low : output[i];
        output[i] = value > high ? high : value;
    }
}
