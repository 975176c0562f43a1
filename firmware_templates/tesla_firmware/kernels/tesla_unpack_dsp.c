/* Unpacks a layer's table of channels into the arena, before the layer runs. */
#include "tesla/kernels.h"

typedef struct {
    tesla_packed_region_t region;
    tesla_channel_t channels[];
} unpacked_t;

const tesla_packed_region_t *tesla_unpack_dsp(const tesla_compact_region_t *row, void *memory) {
    unpacked_t *const unpacked = (unpacked_t *)memory;
    uint32_t at = 0;
    unpacked->region.input_channels = row->input_channels;
    unpacked->region.output_channels = row->output_channels;
    unpacked->region.input_offset = row->input_offset;
    unpacked->region.activation_min = row->activation_min;
    unpacked->region.activation_max = row->activation_max;
    unpacked->region.channels = unpacked->channels;
#pragma GCC unroll 1
    for (uint32_t i = 0; i < row->output_channels; ++i) {
        tesla_channel_t *const channel = &unpacked->channels[i];
        uint32_t excess = 0;
        const uint32_t bits =
            tesla_compact_channel(row->channels, row->widths, &at, &channel->bias, &excess);
        const uint32_t doubled = bits << 2 >> 1 | 0x80000000u;
        const uint32_t shift = row->shift + excess;
        channel->multiplier = (int32_t)(row->once != 0u ? doubled >> 1 : doubled);
        channel->rounding = (int32_t)((2u * (uint32_t)(int32_t)row->zero + 1u) << (shift - 1u));
        channel->shift = (int32_t)shift;
    }
    return &unpacked->region;
}
