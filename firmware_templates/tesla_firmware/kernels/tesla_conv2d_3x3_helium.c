/* Convolution of 3 x 3 pixels, stride 1, int8, for Helium: four neighbouring outputs at a time.
 *
 * Three padded rows are kept, each as planes of 16 channels: whatever the image, a pixel lies 16
 * bytes beside the next. */
#include "tesla/helium_window.h"
#include "tesla/kernels.h"

void tesla_conv2d_3x3_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                             const int8_t *input, const int8_t *weights, void *scratch,
                             int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const tesla_helium_image_t image = {window,
                                        input,
                                        region->input_channels,
                                        tesla_helium_blocks(region->input_channels),
                                        TESLA_HELIUM_LANES,
                                        (window->output_width + 3u) / 4u * 4u + 2u,
                                        region->pad};
    const uint32_t full = tesla_helium_blocks(layer->full_channels);
    tesla_helium_job_t job;
    tesla_helium_job(&job, region, weights);
    job.blocks = image.planes;
    job.skip = 288u * (full - image.planes);
    job.plane = image.width * TESLA_HELIUM_LANES;
    int8_t *rows[3];
    for (uint32_t i = 0; i < 3u; ++i) {
        rows[i] = (int8_t *)scratch + i * image.planes * job.plane;
    }
    tesla_helium_fill_planes(&image, 0, rows[0]);
    tesla_helium_fill_planes(&image, 1, rows[1]);
    for (uint32_t y = 0; y < window->output_height; ++y) {
        tesla_helium_fill_planes(&image, y + 2u, rows[2]);
        for (uint32_t x = 0; x < window->output_width; x += 4u) {
            const uint32_t left = window->output_width - x;
            const uint32_t count = left < 4u ? left : 4u;
            for (uint32_t i = 0; i < 3u; ++i) {
                job.source[i] = rows[i] + x * TESLA_HELIUM_LANES;
            }
            tesla_helium_run(tesla_helium_rows, &job, region->output_channels, count, 288u * full,
                             output);
            output += count * region->output_channels;
        }
        int8_t *const oldest = rows[0];
        rows[0] = rows[1];
        rows[1] = rows[2];
        rows[2] = oldest;
    }
}
