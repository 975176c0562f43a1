/* Fully connected, int8, for Helium: eight outputs at a time over packed weights, the rest in
 * pairs.
 */
#include "tesla/helium.h"
#include "tesla/kernels.h"

/* Writes `start` plus the dot products of a pair of outputs to `sums`. */
static void two_rows(const int8_t *input, const int8_t *weights, uint32_t blocks,
                     const int32_t start[2], int32_t sums[2]) {
    int32_t first = start[0];
    int32_t second = start[1];
#if TESLA_HELIUM
    for (; blocks != 0u; --blocks) {
        const int8x16_t values = vldrbq_s8(input);
        first = vmladavaq_s8(first, vldrbq_s8(weights), values);
        second = vmladavaq_s8(second, vldrbq_s8(weights + 16), values);
        input += 16;
        weights += 32;
    }
#else
    for (uint32_t i = 0; i < blocks * 16u; ++i) {
        first += input[i] * weights[i / 16u * 32u + i % 16u];
        second += input[i] * weights[i / 16u * 32u + i % 16u + 16u];
    }
#endif
    sums[0] = first;
    sums[1] = second;
}

/* Four outputs, of which `count` are written. `factors`: eight biases, multipliers and shifts, or
 * the latter four of each. */
static inline void finish(const tesla_helium_region_t *region, const int32_t *sums,
                          const int32_t *factors, uint32_t count, int8_t *output) {
#if TESLA_HELIUM
    const int32x4_t high = vqdmulhq_s32(vldrwq_s32(sums), vldrwq_s32(factors + 8));
    const int32x4_t value =
        vaddq_n_s32(vrshlq_s32(high, vldrwq_s32(factors + 16)), region->output_offset);
    const int32x4_t low = vmaxq_s32(value, vdupq_n_s32(region->activation_min));
    vstrbq_p_s32(output, vminq_s32(low, vdupq_n_s32(region->activation_max)), vctp32q(count));
#else
    for (uint32_t i = 0; i < 4u && i < count; ++i) {
        const int32_t value =
            tesla_requantize_once(sums[i], factors[8u + i], (int8_t)factors[16u + i]);
        output[i] = tesla_clamp(value + region->output_offset, region->activation_min,
                                region->activation_max);
    }
#endif
}

/* The inputs, each group filled up with zeros to whole vectors: copied only where it is not so. */
static const int8_t *whole_blocks(const tesla_helium_dense_t *layer, uint32_t channels,
                                  const int8_t *input, int8_t *scratch) {
    if (channels % TESLA_HELIUM_LANES == 0u) {
        return input;
    }
    int8_t *target = scratch;
    for (uint32_t g = 0; g < layer->groups; ++g) {
        for (uint32_t done = 0; done < channels; done += TESLA_HELIUM_LANES) {
            const uint32_t left = channels - done;
            tesla_helium_block(target, input,
                               left < TESLA_HELIUM_LANES ? left : TESLA_HELIUM_LANES);
            input += left < TESLA_HELIUM_LANES ? left : TESLA_HELIUM_LANES;
            target += TESLA_HELIUM_LANES;
        }
    }
    return scratch;
}

void tesla_fully_connected_helium(const tesla_helium_dense_t *layer,
                                  const tesla_helium_region_t *region, const int8_t *input,
                                  const int8_t *weights, void *scratch, int8_t *output) {
    const uint32_t active = tesla_helium_blocks(region->input_channels);
    const uint32_t full = tesla_helium_blocks(layer->group_channels);
    const uint32_t groups = active == full ? 1u : layer->groups; /* else they are one */
    const uint32_t blocks = active * layer->groups / groups;
    const uint32_t row_bytes = full * layer->groups * TESLA_HELIUM_LANES;
    const int8_t *const values =
        whole_blocks(layer, region->input_channels, input, (int8_t *)scratch);
    const int32_t *factors = region->channels;
    const uint32_t wide = layer->outputs / 8u * 8u; /* the others are packed in pairs */
    for (uint32_t out = 0; out < region->output_channels; out += 8u) {
        const uint32_t left = region->output_channels - out;
        const int32_t *start = factors;
        int32_t sums[8];
        for (uint32_t g = 0; g < groups; ++g) {
            const int8_t *group = &values[g * blocks * TESLA_HELIUM_LANES];
            const uint32_t at = g * full * TESLA_HELIUM_LANES;
            if (out < wide) {
                tesla_helium_dots(group, &weights[8u * at], blocks, start, sums);
            } else {
                for (uint32_t i = 0; i < left; i += 2u) {
                    two_rows(group, &weights[i * row_bytes + 2u * at], blocks, &start[i], &sums[i]);
                }
            }
            start = sums;
        }
        finish(region, sums, factors, left, output);
        if (left > 4u) {
            finish(region, sums + 4, factors + 4, left - 4u, output + 4);
        }
        weights += 8u * row_bytes;
        factors += 24;
        output += 8;
    }
}
