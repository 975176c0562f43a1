/* Concatenation, int8: one input at a time. */
#include "tesla/kernels.h"
#include "tesla/rescale.h"

void tesla_concat_s8(const tesla_concat_region_t *region, const int8_t *input, int8_t *output) {
    output += region->start;
    for (uint32_t block = 0; block < region->blocks; ++block) {
        tesla_rescale(&region->rescale, input, output);
        input += region->rescale.size;
        output += region->pitch;
    }
}
