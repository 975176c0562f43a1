/* Average pooling, int8. */
#include "tesla/kernels.h"
#include "tesla/window.h"

void tesla_average_pool2d_s8(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                             int8_t *output) {
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const tesla_taps_t rows = tesla_taps(y, window->stride_height, window->pad_top,
                                             window->height, 1u, window->input_height);
        for (uint32_t x = 0; x < window->output_width; ++x) {
            const tesla_taps_t columns = tesla_taps(x, window->stride_width, window->pad_left,
                                                    window->width, 1u, window->input_width);
            const int32_t count =
                (int32_t)((rows.end - rows.first) * (columns.end - columns.first));
            const int8_t *corner =
                &input[(rows.position * window->input_width + columns.position) * channels];
            for (uint32_t c = 0; c < channels; ++c) {
                const int8_t *row = &corner[c];
                int32_t sum = 0;
                for (uint32_t i = rows.first; i < rows.end; ++i) {
                    const int8_t *tap = row;
                    for (uint32_t j = columns.first; j < columns.end; ++j) {
                        sum += *tap;
                        tap += channels;
                    }
                    row += (uint32_t)window->input_width * channels;
                }
                const int32_t half = sum > 0 ? count / 2 : -(count / 2);
                *output++ = (int8_t)((sum + half) / count); /* a mean of int8 is an int8 */
            }
        }
    }
}
