/* Average pooling, int8, for Helium: the sums of four channels at a time. */
#include "tesla/helium.h"
#include "tesla/kernels.h"
#include "tesla/window.h"

/* Sums of up to four channels over rows times columns pixels, `row` bytes from row to row. */
static void add_up(const int8_t *corner, uint32_t channels, uint32_t row, uint32_t rows,
                   uint32_t columns, uint32_t count, int32_t sums[4]) {
#if TESLA_HELIUM
    const mve_pred16_t active = vctp32q(count);
    int32x4_t sum = vdupq_n_s32(0);
    for (uint32_t i = 0; i < rows; ++i) {
        const int8_t *pixel = &corner[i * row];
        for (uint32_t j = columns; j != 0u; --j) {
            sum = vaddq_s32(sum, vldrbq_z_s32(pixel, active));
            pixel += channels;
        }
    }
    vstrwq_s32(sums, sum);
#else
    for (uint32_t c = 0; c < 4u; ++c) {
        sums[c] = 0;
        for (uint32_t i = 0; c < count && i < rows * columns; ++i) {
            sums[c] += corner[i / columns * row + i % columns * channels + c];
        }
    }
#endif
}

void tesla_average_pool2d_helium(const tesla_window_t *window, uint16_t channels,
                                 const int8_t *input, int8_t *output) {
    const uint32_t row = (uint32_t)window->input_width * channels;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const tesla_taps_t rows = tesla_taps(y, window->stride_height, window->pad_top,
                                             window->height, 1u, window->input_height);
        for (uint32_t x = 0; x < window->output_width; ++x) {
            const tesla_taps_t columns = tesla_taps(x, window->stride_width, window->pad_left,
                                                    window->width, 1u, window->input_width);
            const uint32_t high = rows.end - rows.first;
            const uint32_t wide = columns.end - columns.first;
            const int32_t pixels = (int32_t)(high * wide);
            const int8_t *corner = &input[rows.position * row + columns.position * channels];
            for (uint32_t c = 0; c < channels; c += 4u) {
                const uint32_t count = channels - c < 4u ? channels - c : 4u;
                int32_t sums[4];
                add_up(&corner[c], channels, row, high, wide, count, sums);
                for (uint32_t i = 0; i < count; ++i) {
                    const int32_t half = sums[i] > 0 ? pixels / 2 : -(pixels / 2);
                    *output++ = (int8_t)((sums[i] + half) / pixels); /* a mean is an int8 */
                }
            }
        }
    }
}
