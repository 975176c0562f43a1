/* Average pooling, int8, for the DSP instructions: four channels at a time. */
#include "tesla/four_sums.h"
#include "tesla/kernels.h"
#include "tesla/window.h"

/* Halves away from zero; a mean of int8 is an int8. */
static inline int8_t mean_of(int32_t sum, int32_t count) {
    const int32_t half = sum > 0 ? count / 2 : -(count / 2);
    return (int8_t)((sum + half) / count);
}

/* One output pixel, from `rows` rows of `columns` pixels. */
static void one_pixel(const int8_t *corner, uint32_t channels, uint32_t rows, uint32_t row_bytes,
                      uint32_t columns, int8_t *output) {
    const int32_t count = (int32_t)(rows * columns);
    uint32_t c = 0;
    for (; c + 4u <= channels; c += 4u) {
        int32_t sums[4]; /* an initialiser would become a call of memset */
        sums[0] = sums[1] = sums[2] = sums[3] = 0;
        for (uint32_t row = 0; row < rows; ++row) {
            tesla_four_sums(sums, &corner[row * row_bytes + c], channels, columns);
        }
        for (uint32_t i = 0; i < 4u; ++i) {
            output[c + i] = mean_of(sums[i], count);
        }
    }
    for (; c < channels; ++c) {
        int32_t sum = 0;
        for (uint32_t row = 0; row < rows; ++row) {
            for (uint32_t column = 0; column < columns; ++column) {
                sum += corner[row * row_bytes + column * channels + c];
            }
        }
        output[c] = mean_of(sum, count);
    }
}

void tesla_average_pool2d_dsp(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                              int8_t *output) {
    const uint32_t row_bytes = (uint32_t)window->input_width * channels;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const tesla_taps_t rows = tesla_taps(y, window->stride_height, window->pad_top,
                                             window->height, 1u, window->input_height);
        for (uint32_t x = 0; x < window->output_width; ++x) {
            const tesla_taps_t columns = tesla_taps(x, window->stride_width, window->pad_left,
                                                    window->width, 1u, window->input_width);
            one_pixel(&input[rows.position * row_bytes + columns.position * channels], channels,
                      rows.end - rows.first, row_bytes, columns.end - columns.first, output);
            output += channels;
        }
    }
}
