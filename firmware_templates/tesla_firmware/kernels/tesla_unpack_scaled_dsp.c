/* Unpacks a convolution's table of channels into the arena, before the layer runs. */
#include "tesla/kernels.h"

typedef struct {
    tesla_scaled_region_t region;
    tesla_scaled_channel_t channels[];
} unpacked_t;

const tesla_scaled_region_t *tesla_unpack_scaled_dsp(const tesla_compact_scaled_region_t *row,
                                                     void *memory) {
    unpacked_t *const unpacked = (unpacked_t *)memory;
    const int8_t *const packed = row->channels;
    const uint32_t widths = row->widths;
    const uint32_t scale = row->scale;
    tesla_scaled_channel_t *channel = unpacked->channels;
    uint32_t at = 0;
    unpacked->region.input_channels = row->input_channels;
    unpacked->region.output_channels = row->output_channels;
    unpacked->region.input_zero = row->input_zero;
    unpacked->region.output_zero = row->output_zero;
    unpacked->region.activation_min = row->activation_min;
    unpacked->region.activation_max = row->activation_max;
    unpacked->region.away = row->away;
    unpacked->region.early = row->early;
    unpacked->region.channels = channel;
#pragma GCC unroll 1
    for (uint32_t left = row->output_channels; left != 0u; --left) {
        uint32_t excess = 0;
        const uint32_t bits = tesla_compact_channel(packed, widths, &at, &channel->bias, &excess);
        channel->multiplier = (int32_t)(bits << 2 >> 1 | 0x80000000u);
        channel->scale = (int32_t)(1u << (scale - excess));
        ++channel;
    }
    return &unpacked->region;
}
