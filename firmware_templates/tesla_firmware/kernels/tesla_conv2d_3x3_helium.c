/* Convolution of 3 x 3 pixels, stride 1, int8, for Helium: four neighbouring outputs at a time.
 *
 * Three padded rows are kept, each as planes of 16 channels: whatever the image, a pixel lies 16
 * bytes beside the next. */
#include "tesla/helium.h"
#include "tesla/kernels.h"

typedef struct {
    const tesla_window_t *window;
    const int8_t *input;
    uint32_t channels; /* active */
    uint32_t blocks;   /* of 16 channels */
    uint32_t width;    /* pixels of a padded row */
    int16_t pad;
} image_t;

/* Row `y` of the padded image. */
static void fill_row(const image_t *image, uint32_t y, int8_t *target) {
    const tesla_window_t *window = image->window;
    const uint32_t row = y - window->pad_top; /* above the image it is huge */
    const bool inside = row < window->input_height;
    const uint32_t room = image->width - window->pad_left;
    const uint32_t pixels = window->input_width < room ? window->input_width : room;
    const int8_t *source =
        inside ? &image->input[row * window->input_width * image->channels] : NULL;
    uint32_t left = image->channels;
    for (uint32_t block = image->blocks; block != 0u; --block) {
        const uint32_t bytes = left < TESLA_HELIUM_LANES ? left : TESLA_HELIUM_LANES;
        const int8_t *pixel = source;
        for (uint32_t x = 0; x < image->width; ++x) {
            if (inside && x - window->pad_left < pixels) {
                tesla_helium_block(target, pixel, bytes);
                pixel += image->channels;
            } else {
                tesla_helium_fill(target, image->pad, bytes);
            }
            target += TESLA_HELIUM_LANES;
        }
        source = inside ? source + TESLA_HELIUM_LANES : NULL;
        left -= bytes;
    }
}

void tesla_conv2d_3x3_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                             const int8_t *input, const int8_t *weights, void *scratch,
                             int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const image_t image = {window,
                           input,
                           region->input_channels,
                           tesla_helium_blocks(region->input_channels),
                           (window->output_width + 3u) / 4u * 4u + 2u,
                           region->pad};
    const uint32_t full = tesla_helium_blocks(layer->full_channels);
    tesla_helium_job_t job;
    tesla_helium_job(&job, region, weights);
    job.blocks = image.blocks;
    job.skip = 288u * (full - image.blocks);
    job.plane = image.width * TESLA_HELIUM_LANES;
    const uint32_t row_bytes = image.blocks * job.plane;
    int8_t *rows[3];
    for (uint32_t i = 0; i < 3u; ++i) {
        rows[i] = (int8_t *)scratch + i * row_bytes;
    }
    fill_row(&image, 0, rows[0]);
    fill_row(&image, 1, rows[1]);
    for (uint32_t y = 0; y < window->output_height; ++y) {
        fill_row(&image, y + 2u, rows[2]);
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
