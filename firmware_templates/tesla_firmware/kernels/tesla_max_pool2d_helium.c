/* Max pooling, int8, for Helium: 16 channels at a time. */
#include "tesla/helium.h"
#include "tesla/kernels.h"
#include "tesla/window.h"

/* The largest of 2 x 2 pixels; `row` bytes from one row of the image to the next. */
static inline void four_pixels(const int8_t *corner, uint32_t channels, uint32_t row,
                               int8_t *output) {
#if TESLA_HELIUM
    const int8_t *right = corner + channels;
    const int8_t *below = corner + row;
    const int8_t *last = below + channels;
    __asm__ volatile("wlstp.8 lr, %[channels], 2f\n"
                     "1:\n"
                     "vldrb.8 q0, [%[corner]], #16\n"
                     "vldrb.8 q1, [%[right]], #16\n"
                     "vmax.s8 q0, q0, q1\n"
                     "vldrb.8 q2, [%[below]], #16\n"
                     "vldrb.8 q3, [%[last]], #16\n"
                     "vmax.s8 q2, q2, q3\n"
                     "vmax.s8 q0, q0, q2\n"
                     "vstrb.8 q0, [%[output]], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [corner] "+r"(corner), [right] "+r"(right), [below] "+r"(below),
                       [last] "+r"(last), [output] "+r"(output)
                     : [channels] "r"(channels)
                     : "lr", "q0", "q1", "q2", "q3", "memory");
#else
    for (uint32_t c = 0; c < channels; ++c) {
        const int8_t upper = corner[c] > corner[channels + c] ? corner[c] : corner[channels + c];
        const int8_t *below = &corner[row + c];
        const int8_t lower = below[0] > below[channels] ? below[0] : below[channels];
        output[c] = upper > lower ? upper : lower;
    }
#endif
}

/* The largest of any pixels. */
static void pixels(const int8_t *corner, uint32_t channels, uint32_t row, uint32_t rows,
                   uint32_t columns, int8_t *output) {
    for (uint32_t done = 0; done < channels; done += TESLA_HELIUM_LANES) {
#if TESLA_HELIUM
        const mve_pred16_t active = vctp8q(channels - done);
        int8x16_t largest = vdupq_n_s8(INT8_MIN);
        for (uint32_t i = 0; i < rows; ++i) {
            const int8_t *pixel = &corner[i * row + done];
            for (uint32_t j = columns; j != 0u; --j) {
                largest = vmaxq_s8(largest, vldrbq_z_s8(pixel, active));
                pixel += channels;
            }
        }
        vstrbq_p_s8(&output[done], largest, active);
#else
        for (uint32_t c = done; c < channels && c < done + TESLA_HELIUM_LANES; ++c) {
            int8_t largest = INT8_MIN;
            for (uint32_t i = 0; i < rows * columns; ++i) {
                const int8_t value = corner[i / columns * row + i % columns * channels + c];
                largest = value > largest ? value : largest;
            }
            output[c] = largest;
        }
#endif
    }
}

/* Windows of 2 x 2 pixels, all of them within the image. */
static void quarters(const tesla_window_t *window, uint32_t channels, const int8_t *input,
                     int8_t *output) {
    const uint32_t row = window->input_width * channels;
    const uint32_t step = window->stride_width * channels;
    for (uint32_t y = window->output_height; y != 0u; --y) {
        const int8_t *corner = input;
        for (uint32_t x = window->output_width; x != 0u; --x) {
            four_pixels(corner, channels, row, output);
            corner += step;
            output += channels;
        }
        input += window->stride_height * row;
    }
}

static bool all_inside(const tesla_window_t *window) {
    const uint32_t below = (window->output_height - 1u) * window->stride_height + window->height;
    const uint32_t right = (window->output_width - 1u) * window->stride_width + window->width;
    return window->pad_top == 0u && window->pad_left == 0u && below <= window->input_height &&
           right <= window->input_width;
}

void tesla_max_pool2d_helium(const tesla_window_t *window, uint16_t channels, const int8_t *input,
                             int8_t *output) {
    const uint32_t row = (uint32_t)window->input_width * channels;
    if (window->height == 2u && window->width == 2u && all_inside(window)) {
        quarters(window, channels, input, output);
        return;
    }
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const tesla_taps_t rows = tesla_taps(y, window->stride_height, window->pad_top,
                                             window->height, 1u, window->input_height);
        for (uint32_t x = 0; x < window->output_width; ++x) {
            const tesla_taps_t columns = tesla_taps(x, window->stride_width, window->pad_left,
                                                    window->width, 1u, window->input_width);
            const int8_t *corner = &input[rows.position * row + columns.position * channels];
            pixels(corner, channels, row, rows.end - rows.first, columns.end - columns.first,
                   output);
            output += channels;
        }
    }
}
