/* Convolutions for Helium whose patches come from padded rows: as many are kept as a window is
 * high.
 */
#ifndef TESLA_HELIUM_WINDOW_H
#define TESLA_HELIUM_WINDOW_H

#include "tesla/helium.h"

/* An image as planes: each holds `unit` channels of every pixel, one behind the other. */
typedef struct {
    const tesla_window_t *window;
    const int8_t *input;
    uint32_t channels; /* active */
    uint32_t planes;
    uint32_t unit;
    uint32_t width; /* pixels of a padded row */
    int16_t pad;
} tesla_helium_image_t;

/* Writes row `y` of the padded image, all planes of it. */
typedef void (*tesla_helium_fill_row_t)(const tesla_helium_image_t *image, uint32_t y,
                                        int8_t *target);

/* `count` pixels beside the image. */
static inline int8_t *tesla_helium_padding(int8_t *target, int16_t pad, uint32_t lanes,
                                           uint32_t count) {
    for (; count != 0u; --count) {
        tesla_helium_fill(target, pad, lanes);
        target += TESLA_HELIUM_LANES;
    }
    return target;
}

/* A padded row as planes of 16 channels. */
static inline void tesla_helium_fill_planes(const tesla_helium_image_t *image, uint32_t y,
                                            int8_t *target) {
    const tesla_window_t *window = image->window;
    const uint32_t row = y - window->pad_top; /* above the image it is huge */
    const bool inside = row < window->input_height;
    const uint32_t room = image->width - window->pad_left;
    const uint32_t pixels = window->input_width < room ? window->input_width : room;
    const uint32_t before = inside ? window->pad_left : image->width;
    const int8_t *source =
        &image->input[(inside ? row : 0u) * window->input_width * image->channels];
    uint32_t left = image->channels;
    for (uint32_t plane = image->planes; plane != 0u; --plane) {
        const uint32_t lanes = left < TESLA_HELIUM_LANES ? left : TESLA_HELIUM_LANES;
        target = tesla_helium_padding(target, image->pad, lanes, before);
        if (inside) {
            target = tesla_helium_pixels(target, source, image->channels, lanes, pixels);
            target = tesla_helium_padding(target, image->pad, lanes, room - pixels);
        }
        source += TESLA_HELIUM_LANES;
        left -= lanes;
    }
}

/* `bytes` from each row, one behind the other. Writes up to 15 bytes more. */
static inline void tesla_helium_patch(int8_t *const *rows, uint32_t height, uint32_t at,
                                      uint32_t bytes, int8_t *target) {
#if TESLA_HELIUM
    const uint32_t vectors = tesla_helium_blocks(bytes);
    const int8_t *source;
    if (vectors == 1u) {
        __asm__ volatile("dls lr, %[height]\n"
                         "1: ldr %[source], [%[rows]], #4\n"
                         "add %[source], %[source], %[at]\n"
                         "vldrb.8 q0, [%[source]]\n"
                         "vstrb.8 q0, [%[target]]\n"
                         "add %[target], %[target], %[bytes]\n"
                         "le lr, 1b\n"
                         : [rows] "+r"(rows), [target] "+r"(target), [source] "=&r"(source)
                         : [height] "r"(height), [at] "r"(at), [bytes] "r"(bytes)
                         : "lr", "q0", "memory");
        return;
    }
    int8_t *end;
    uint32_t left;
    __asm__ volatile(
        "dls lr, %[height]\n"
        "1: ldr %[source], [%[rows]], #4\n"
        "mov %[end], %[target]\n"
        "add %[source], %[source], %[at]\n"
        "mov %[left], %[vectors]\n"
        "2: vldrb.8 q0, [%[source]], #16\n"
        "subs %[left], %[left], #1\n"
        "vstrb.8 q0, [%[end]], #16\n"
        "bne 2b\n"
        "add %[target], %[target], %[bytes]\n"
        "le lr, 1b\n"
        : [rows] "+r"(rows), [target] "+r"(target), [source] "=&r"(source), [end] "=&r"(end),
          [left] "=&r"(left)
        : [height] "r"(height), [at] "r"(at), [vectors] "r"(vectors), [bytes] "r"(bytes)
        : "lr", "q0", "memory", "cc");
#else
    for (uint32_t i = 0; i < height; ++i) {
        for (uint32_t done = 0; done < bytes; done += TESLA_HELIUM_LANES) {
            tesla_copy(target + done, rows[i] + at + done, TESLA_HELIUM_LANES);
        }
        target += bytes;
    }
#endif
}

/* Four patches at a time. `scratch`: the patches, then the rows, each with
 * 16 bytes more. */
static inline void tesla_helium_convolve(const tesla_helium_image_t *image,
                                         const tesla_helium_region_t *region,
                                         tesla_helium_fill_row_t fill_row, const int8_t *weights,
                                         uint32_t full_planes, int8_t *scratch, int8_t *output) {
    const tesla_window_t *window = image->window;
    const uint32_t height = window->height;
    const uint32_t tap_bytes = window->width * image->unit;
    const uint32_t step = window->stride_width * image->unit;
    const uint32_t plane_bytes = image->width * image->unit;
    const uint32_t slot = image->planes * plane_bytes + TESLA_HELIUM_LANES;
    const uint32_t pair_bytes = 32u * tesla_helium_blocks(height * tap_bytes) * full_planes;
    tesla_helium_job_t job;
    tesla_helium_job(&job, region, weights);
    job.blocks = tesla_helium_blocks(height * tap_bytes) * image->planes;
    job.skip = pair_bytes - 32u * job.blocks;
    const uint32_t patch_bytes = job.blocks * TESLA_HELIUM_LANES;
    const uint32_t part_bytes = patch_bytes / image->planes;
    for (uint32_t i = 0; i < 4u; ++i) { /* patches that are left over compute nonsense */
        job.source[i] = scratch + i * patch_bytes;
    }
    int8_t *const ring = scratch + 4u * patch_bytes + TESLA_HELIUM_LANES;
    int8_t *rows[TESLA_HELIUM_ROWS];
    const uint32_t channels = region->output_channels;
    int8_t *const end = scratch + 4u * patch_bytes;
    int8_t *target = scratch; /* of the next patch; four may belong to two rows */
    uint32_t filled = 0;
    for (uint32_t y = 0; y < window->output_height; ++y) {
        const uint32_t top = y * window->stride_height;
        for (; filled < top + height; ++filled) {
            if (filled >= top) {
                fill_row(image, filled, ring + filled % height * slot);
            }
        }
        for (uint32_t i = 0; i < height; ++i) {
            rows[i] = ring + (top + i) % height * slot;
        }
        uint32_t at = 0;
        for (uint32_t x = window->output_width; x != 0u; --x) {
            for (uint32_t plane = 0; plane < image->planes; ++plane) {
                tesla_helium_patch(rows, height, at + plane * plane_bytes, tap_bytes,
                                   target + plane * part_bytes);
            }
            target += patch_bytes;
            at += step;
            if (target == end) {
                tesla_helium_run(tesla_helium_patches, &job, channels, 4, pair_bytes, output);
                output += 4u * channels;
                target = scratch;
            }
        }
    }
    if (target != scratch) {
        const uint32_t count = (uint32_t)(target - scratch) / patch_bytes;
        tesla_helium_run(tesla_helium_patches, &job, channels, count, pair_bytes, output);
    }
}

#endif /* TESLA_HELIUM_WINDOW_H */
