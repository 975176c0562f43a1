/* Convolution of any window, int8, for Helium: four outputs at a time over their patches.
 *
 * A patch holds all taps of 16 channels, then those of the next 16: leading channels come first. */
#include "tesla/helium.h"
#include "tesla/kernels.h"

typedef struct {
    const tesla_window_t *window;
    const int8_t *input;
    uint32_t channels; /* active */
    uint32_t blocks;   /* of 16 channels */
    int16_t pad;
} image_t;

/* All channels of one tap, `pitch` bytes from one block of 16 to the next; NULL: beside the image.
 */
static void tap(const image_t *image, const int8_t *pixel, uint32_t pitch, int8_t *target) {
    uint32_t left = image->channels;
    for (uint32_t block = image->blocks; block != 0u; --block) {
        const uint32_t bytes = left < TESLA_HELIUM_LANES ? left : TESLA_HELIUM_LANES;
        if (pixel != NULL) {
            tesla_helium_block(target, pixel, bytes);
            pixel += TESLA_HELIUM_LANES;
        } else {
            tesla_helium_fill(target, image->pad, bytes);
        }
        left -= bytes;
        target += pitch;
    }
}

static void patch(const image_t *image, uint32_t y, uint32_t x, int8_t *target) {
    const tesla_window_t *window = image->window;
    const uint32_t pitch = (uint32_t)window->height * window->width * TESLA_HELIUM_LANES;
    uint32_t row = y * window->stride_height - window->pad_top; /* beside the image it is huge */
    for (uint32_t i = window->height; i != 0u; --i) {
        uint32_t column = x * window->stride_width - window->pad_left;
        for (uint32_t j = window->width; j != 0u; --j) {
            const bool inside = row < window->input_height && column < window->input_width;
            const uint32_t pixel = row * window->input_width + column;
            tap(image, inside ? &image->input[pixel * image->channels] : NULL, pitch, target);
            target += TESLA_HELIUM_LANES;
            column += window->dilation_width;
        }
        row += window->dilation_height;
    }
}

/* Whether each output looks at one pixel, and none beside the image. */
static bool one_tap(const tesla_window_t *window) {
    return window->height == 1u && window->width == 1u && window->pad_top == 0u &&
           window->pad_left == 0u &&
           (window->output_height - 1u) * window->stride_height < window->input_height &&
           (window->output_width - 1u) * window->stride_width < window->input_width;
}

/* Four pixels at a time that lie one behind the other; returns how many are left. */
static uint32_t rows_of_pixels(const image_t *image, tesla_helium_job_t *job, uint32_t outputs,
                               uint32_t pair_bytes, int8_t *output) {
    const uint32_t channels = image->channels;
    const int8_t *pixel = image->input;
    uint32_t left = (uint32_t)image->window->output_height * image->window->output_width;
    for (; left >= 4u; left -= 4u) {
        for (uint32_t i = 0; i < 4u; ++i) {
            job->source[i] = pixel;
            pixel += channels;
        }
        tesla_helium_run(tesla_helium_patches, job, outputs, 4, pair_bytes, output);
        output += 4u * outputs;
    }
    return left;
}

/* Outputs of one pixel each, which is a patch itself if its channels are whole blocks. */
static void pixels(const image_t *image, tesla_helium_job_t *job, uint32_t outputs,
                   uint32_t pair_bytes, int8_t *scratch, int8_t *output) {
    const tesla_window_t *window = image->window;
    const uint32_t all = (uint32_t)window->output_height * window->output_width;
    const uint32_t step = window->stride_width * image->channels;
    const uint32_t row = window->stride_height * window->input_width * image->channels;
    const bool whole = image->channels % TESLA_HELIUM_LANES == 0u;
    const int8_t *line = image->input;
    const int8_t *pixel = line;
    uint32_t left = all;
    uint32_t ahead = window->output_width; /* pixels of the present row */
    if (whole && window->stride_height == 1u && window->stride_width == 1u &&
        window->output_width == window->input_width) {
        left = rows_of_pixels(image, job, outputs, pair_bytes, output);
        output += (all - left) * outputs;
        pixel += (all - left) * image->channels;
        ahead = left; /* what is left lies one behind the other, too */
    }
    while (left != 0u) {
        const uint32_t count = left < 4u ? left : 4u;
        int8_t *target = scratch;
        for (uint32_t i = 0; i < count; ++i) {
            job->source[i] = whole ? pixel : target;
            if (!whole) {
                tap(image, pixel, TESLA_HELIUM_LANES, target);
                target += image->blocks * TESLA_HELIUM_LANES;
            }
            pixel += step;
            if (--ahead == 0u) {
                ahead = window->output_width;
                line += row;
                pixel = line;
            }
        }
        for (uint32_t i = count; i < 4u; ++i) {
            job->source[i] = job->source[0]; /* computed, and not written */
        }
        tesla_helium_run(tesla_helium_patches, job, outputs, count, pair_bytes, output);
        output += count * outputs;
        left -= count;
    }
}

void tesla_conv2d_helium(const tesla_conv2d_t *layer, const tesla_helium_region_t *region,
                         const int8_t *input, const int8_t *weights, void *scratch,
                         int8_t *output) {
    const tesla_window_t *window = &layer->window;
    const image_t image = {window, input, region->input_channels,
                           tesla_helium_blocks(region->input_channels), region->pad};
    const uint32_t taps = (uint32_t)window->height * window->width;
    const uint32_t pair_bytes = 32u * taps * tesla_helium_blocks(layer->full_channels);
    uint32_t left = (uint32_t)window->output_height * window->output_width;
    tesla_helium_job_t job;
    tesla_helium_job(&job, region, weights);
    job.blocks = taps * image.blocks;
    job.skip = pair_bytes - 32u * job.blocks;
    if (one_tap(window)) {
        pixels(&image, &job, region->output_channels, pair_bytes, (int8_t *)scratch, output);
        return;
    }
    uint32_t y = 0;
    uint32_t x = 0;
    while (left != 0u) {
        const uint32_t count = left < 4u ? left : 4u;
        for (uint32_t i = 0; i < 4u; ++i) {
            int8_t *const target = (int8_t *)scratch + i * job.blocks * TESLA_HELIUM_LANES;
            job.source[i] = target; /* what is left over computes nonsense */
            if (i >= count) {
                continue;
            }
            patch(&image, y, x, target);
            if (++x == window->output_width) {
                x = 0;
                ++y;
            }
        }
        tesla_helium_run(tesla_helium_patches, &job, region->output_channels, count, pair_bytes,
                         output);
        output += count * region->output_channels;
        left -= count;
    }
}
