/* Convolution whose input channels are all active, int8, for Helium: the taps of a patch lie one
 * behind the other without gaps, so that few channels waste nothing.
 *
 * As many padded rows are kept as the window is high. */
#include "tesla/helium.h"
#include "tesla/kernels.h"

typedef struct {
    const tesla_window_t *window;
    const int8_t *input;
    uint32_t channels;
    uint32_t row_bytes; /* of a padded row */
    int16_t pad;
} image_t;

/* Row `y` of the padded image. */
static void fill_row(const image_t *image, uint32_t y, int8_t *target) {
    const tesla_window_t *window = image->window;
    const uint32_t row = y - window->pad_top; /* above the image it is huge */
    if (row >= window->input_height) {
        tesla_fill(target, image->pad & 255, image->row_bytes);
        return;
    }
    const uint32_t bytes = window->input_width * image->channels;
    const uint32_t before = window->pad_left * image->channels;
    const uint32_t room = image->row_bytes - before;
    tesla_fill(target, image->pad & 255, before);
    tesla_helium_copy(target + before, &image->input[row * bytes], bytes < room ? bytes : room);
    if (bytes < room) {
        tesla_fill(target + before + bytes, image->pad & 255, room - bytes);
    }
}

/* `bytes` from each row, one behind the other. Writes up to 15 bytes more. */
static int8_t *patch(int8_t *const *rows, uint32_t height, uint32_t at, uint32_t bytes,
                     int8_t *target) {
    for (uint32_t i = 0; i < height; ++i) {
        const int8_t *source = rows[i] + at;
        for (uint32_t done = 0; done < bytes; done += TESLA_HELIUM_LANES) {
#if TESLA_HELIUM
            vstrbq_s8(target + done, vldrbq_s8(source + done));
#else
            tesla_copy(target + done, source + done, TESLA_HELIUM_LANES);
#endif
        }
        target += bytes;
    }
    return target;
}

void tesla_conv2d_dense_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                               const int8_t *input, const int8_t *weights, void *scratch,
                               int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const uint32_t channels = region->input_channels;
    const uint32_t tap_bytes = window->width * channels;
    const uint32_t step = window->stride_width * channels;
    const image_t image = {window, input, channels, (window->output_width - 1u) * step + tap_bytes,
                           region->pad};
    tesla_helium_job_t job;
    tesla_helium_job(&job, region, weights);
    job.blocks = tesla_helium_blocks(window->height * tap_bytes);
    job.skip = 0;
    const uint32_t slot = image.row_bytes + TESLA_HELIUM_LANES;
    const uint32_t patch_bytes = job.blocks * TESLA_HELIUM_LANES;
    int8_t *const patches = (int8_t *)scratch;
    int8_t *const ring = patches + 4u * patch_bytes + TESLA_HELIUM_LANES;
    int8_t *rows[TESLA_HELIUM_ROWS];
    uint32_t filled = 0;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const uint32_t top = y * window->stride_height;
        for (; filled < top + window->height; ++filled) {
            if (filled >= top) {
                fill_row(&image, filled, ring + filled % window->height * slot);
            }
        }
        for (uint32_t i = 0; i < window->height; ++i) {
            rows[i] = ring + (top + i) % window->height * slot;
        }
        for (uint32_t x = 0; x < window->output_width; x += 4u) {
            const uint32_t left = window->output_width - x;
            const uint32_t count = left < 4u ? left : 4u;
            for (uint32_t i = 0; i < 4u; ++i) {
                job.source[i] = patches + i * patch_bytes;
                if (i < count) {
                    (void)patch(rows, window->height, (x + i) * step, tap_bytes,
                                patches + i * patch_bytes);
                }
            }
            tesla_helium_run(tesla_helium_patches, &job, region->output_channels, count,
                             2u * patch_bytes, output);
            output += count * region->output_channels;
        }
    }
}
