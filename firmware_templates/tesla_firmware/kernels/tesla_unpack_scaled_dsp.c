/* Unpacks a convolution's table of channels into the arena, before the layer runs. */
#include "tesla/kernels.h"

typedef struct {
    tesla_scaled_region_t region;
    tesla_scaled_channel_t channels[];
} unpacked_t;

const tesla_scaled_region_t *tesla_unpack_scaled_dsp(const tesla_compact_scaled_region_t *row,
                                                     void *memory) {
    unpacked_t *const unpacked = (unpacked_t *)memory;
    const int8_t *next = row->channels;
    const uint32_t bias_bytes = row->bias_bytes;
    const uint32_t scale = row->scale;
    tesla_scaled_channel_t *channel = unpacked->channels;
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
        uint32_t factor = 0;
        next = tesla_compact_channel(next, bias_bytes, &channel->bias, &factor);
        channel->multiplier = (int32_t)(tesla_compact_mantissa(factor) << 1);
        channel->scale = (int32_t)(1u << (scale - (factor >> 30)));
        ++channel;
    }
    return &unpacked->region;
}
