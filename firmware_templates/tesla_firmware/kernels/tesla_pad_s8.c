/* Padding of an image, int8. */
#include "tesla/kernels.h"
#include "tesla/string.h"

static int8_t *fill(int8_t *output, int8_t value, uint32_t size) {
    tesla_fill(output, (uint8_t)value, size);
    return output + size;
}

void tesla_pad_s8(const tesla_pad_t *layer, const tesla_pad_region_t *region, const int8_t *input,
                  int8_t *output) {
    const uint32_t channels = region->channels;
    const uint32_t row = layer->width * channels;
    const uint32_t padded_row = row + ((uint32_t)layer->left + layer->right) * channels;
    output = fill(output, region->value, layer->top * padded_row);
    for (uint32_t y = 0; y < layer->height; ++y) {
        output = fill(output, region->value, layer->left * channels);
        tesla_copy(output, input, row);
        input += row;
        output = fill(output + row, region->value, layer->right * channels);
    }
    (void)fill(output, region->value, layer->bottom * padded_row);
}
