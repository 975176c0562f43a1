/* Unpacks a layer's table of channels into the arena, before the layer runs. */
#include "tesla/kernels.h"

typedef struct {
    tesla_packed_region_t region;
    tesla_channel_t channels[];
} unpacked_t;

const tesla_packed_region_t *tesla_unpack_dsp(const tesla_compact_region_t *row, void *memory) {
    unpacked_t *const unpacked = (unpacked_t *)memory;
    const uint32_t unused = 32u - 8u * row->bias_bytes; /* upper bits of a bias */
    const uint8_t *bias = (const uint8_t *)row->bias;
    unpacked->region.input_channels = row->input_channels;
    unpacked->region.output_channels = row->output_channels;
    unpacked->region.input_offset = row->input_offset;
    unpacked->region.activation_min = row->activation_min;
    unpacked->region.activation_max = row->activation_max;
    unpacked->region.channels = unpacked->channels;
#pragma GCC unroll 1
    for (uint32_t i = 0; i < row->output_channels; ++i) {
        tesla_channel_t *const channel = &unpacked->channels[i];
        const uint32_t factor = (uint32_t)row->factors[i];
        const uint32_t mantissa = (factor & 0x3FFFFFFFu) | 0x40000000u;
        const uint32_t shift = row->shift + (factor >> 30);
        uint32_t value = 0;
#pragma GCC unroll 1
        for (uint32_t bit = unused; bit < 32u; bit += 8u) {
            value |= (uint32_t)*bias++ << bit;
        }
        channel->bias = (int32_t)value >> unused;
        channel->multiplier = (int32_t)(row->once != 0u ? mantissa : mantissa << 1);
        channel->rounding = (int32_t)((2u * (uint32_t)(int32_t)row->zero + 1u) << (shift - 1u));
        channel->shift = (int32_t)shift;
    }
    return &unpacked->region;
}
