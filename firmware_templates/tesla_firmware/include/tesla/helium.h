/* What kernels for Helium, the vectors of Cortex-M55 and M85, share; docs/kernels-helium.md tells
 * how weights are packed.
 *
 * TESLA_HELIUM says whether the instructions exist. Everything that uses them also compiles where
 * they do not, and computes the same bits there. */
#ifndef TESLA_HELIUM_H
#define TESLA_HELIUM_H

#include "tesla/compiler.h"
#include "tesla/layers.h"
#include "tesla/packed.h"
#include "tesla/requantize.h"
#include "tesla/string.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE) && !defined(__ARM_BIG_ENDIAN)
#define TESLA_HELIUM 1
#include <arm_mve.h>
#else
#define TESLA_HELIUM 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define TESLA_HELIUM_LANES 16u
#define TESLA_HELIUM_ROWS  16u /* of a window, at most, where rows are kept */

/* Four neighbouring outputs of all channels, two channels at a time. The first ten members are what
 * the assembly keeps on its stack, so their order counts. */
typedef struct {
    const int8_t *source[4]; /* see the functions below */
    uint32_t blocks;         /* of 16 channels */
    uint32_t skip;           /* bytes of weights between two pairs that no region's prefix needs */
    const int8_t *weights;
    const int32_t *channels;
    int8_t *output;
    const int8_t *end;   /* of the output of the first pixel */
    uint32_t mask;       /* a bit for each byte of eight halfwords: those to write */
    uint32_t plane;      /* bytes from one block of 16 channels to the next */
    uint16_t offsets[8]; /* where a pair's bytes go: pixel 0, 0, 1, 1, 2, 2, 3, 3 */
    int16_t zero[8];     /* the output's zero point, eight times */
    int16_t smallest[8]; /* the clamp */
    int16_t largest[8];
} tesla_helium_job_t;

/* Two filters at a time over four patches, `blocks` times 16 bytes each.
 *
 * source   the four patches
 * weights  [pairs][blocks][2][16], with `skip` bytes behind each pair */
void tesla_helium_patches(const tesla_helium_job_t *job);

/* Two filters of 3 x 3 at a time over four neighbouring windows, one pixel apart.
 *
 * source   three rows of pixels of 16 channels, `plane` bytes from one block to the next
 * weights  [pairs][blocks][3][3][2][16], with `skip` bytes behind each pair, and 16 more */
void tesla_helium_rows(const tesla_helium_job_t *job);

/* Writes `start` plus eight dot products of the same input to `sums`, which may be `start`.
 *
 * input    [blocks][16]
 * weights  [blocks][8][16] */
void tesla_helium_dots(const int8_t *input, const int8_t *weights, uint32_t blocks,
                       const int32_t start[8], int32_t sums[8]);

/* Everything of a job that stays the same within a layer. */
static inline void tesla_helium_job(tesla_helium_job_t *job, const tesla_helium_region_t *region,
                                    const int8_t *weights) {
    job->weights = weights;
    job->channels = region->channels;
    for (uint32_t i = 0; i < 8u; ++i) {
        job->offsets[i] = (uint16_t)((i / 2u) * region->output_channels + i % 2u);
        job->zero[i] = region->output_offset;
        job->smallest[i] = region->activation_min;
        job->largest[i] = region->activation_max;
    }
}

/* Writes one of eight sums, if the job's mask holds it: the even lanes belong to the even channel.
 */
static inline void tesla_helium_finish(const tesla_helium_job_t *job, const int32_t *channels,
                                       uint32_t lane, int32_t sum, int8_t *output) {
    const int32_t *factor = &channels[2u + 2u * (lane % 2u)];
    if ((job->mask >> (2u * lane) & 1u) != 0u) {
        const int32_t value = tesla_requantize(sum, factor[0], (int8_t)factor[1]) + job->zero[0];
        output[job->offsets[lane]] = tesla_clamp(value, job->smallest[0], job->largest[0]);
    }
}

typedef void (*tesla_helium_kernel_t)(const tesla_helium_job_t *job);

/* Runs a job for the first `pixels`, 1 .. 4, of its four pixels: even channels and their
 * neighbours, then, if the number of channels is odd, the last one alone. `output` is that of the
 * first pixel. */
static inline void tesla_helium_run(tesla_helium_kernel_t kernel, tesla_helium_job_t *job,
                                    uint32_t channels, uint32_t pixels, uint32_t pair_bytes,
                                    int8_t *output) {
    const uint32_t even = channels & ~1u;
    job->mask = (1u << (4u * pixels)) - 1u;
    job->output = output;
    job->end = output + even;
    if (even != 0u) {
        kernel(job);
    }
    if (even != channels) {
        job->weights += (even / 2u) * pair_bytes;
        job->channels += 3u * even;
        job->output += even;
        job->end += 2;
        job->mask &= 0x3333u;
        kernel(job);
        job->weights -= (even / 2u) * pair_bytes;
        job->channels -= 3u * even;
    }
}

/* Copies any number of bytes. */
static inline void tesla_helium_copy(int8_t *target, const int8_t *source, uint32_t bytes) {
#if TESLA_HELIUM
    for (int32_t left = (int32_t)bytes; left > 0; left -= 16) {
        const mve_pred16_t active = vctp8q((uint32_t)left);
        vstrbq_p_s8(target, vldrbq_z_s8(source, active), active);
        source += 16;
        target += 16;
    }
#else
    tesla_copy(target, source, bytes);
#endif
}

/* Sets any number of bytes to `value`. */
static inline void tesla_helium_set(int8_t *target, int16_t value, uint32_t bytes) {
#if TESLA_HELIUM
    const int8x16_t values = vdupq_n_s8((int8_t)value);
    for (int32_t left = (int32_t)bytes; left > 0; left -= 16) {
        vstrbq_p_s8(target, values, vctp8q((uint32_t)left));
        target += 16;
    }
#else
    tesla_fill(target, value & 255, bytes);
#endif
}

/* Copies 1 .. 16 bytes and fills up 16 with zeros. */
static inline void tesla_helium_block(int8_t *target, const int8_t *source, uint32_t bytes) {
#if TESLA_HELIUM
    vstrbq_s8(target, vldrbq_z_s8(source, vctp8q(bytes)));
#else
    tesla_copy(target, source, bytes);
    tesla_fill(target + bytes, 0, TESLA_HELIUM_LANES - bytes);
#endif
}

/* Writes `value` 1 .. 16 times and fills up 16 bytes with zeros. */
static inline void tesla_helium_fill(int8_t *target, int16_t value, uint32_t bytes) {
#if TESLA_HELIUM
    const int8x16_t nothing = vdupq_n_s8(0);
    vstrbq_s8(target, vdupq_m_n_s8(nothing, (int8_t)value, vctp8q(bytes)));
#else
    tesla_fill(target, value & 255, bytes);
    tesla_fill(target + bytes, 0, TESLA_HELIUM_LANES - bytes);
#endif
}

/* How many blocks of 16 hold `channels`. */
static inline uint32_t tesla_helium_blocks(uint32_t channels) {
    return (channels + TESLA_HELIUM_LANES - 1u) / TESLA_HELIUM_LANES;
}

/* Copies `count` pixels, `pitch` bytes apart, of 1 .. 16 channels to planes of 16. */
static inline int8_t *tesla_helium_pixels(int8_t *target, const int8_t *source, uint32_t pitch,
                                          uint32_t lanes, uint32_t count) {
#if TESLA_HELIUM
    if (lanes == TESLA_HELIUM_LANES && count != 0u) {
        __asm__ volatile("dls lr, %[count]\n"
                         "1: vldrb.8 q0, [%[source]]\n"
                         "add %[source], %[source], %[pitch]\n"
                         "vstrb.8 q0, [%[target]], #16\n"
                         "le lr, 1b\n"
                         : [source] "+r"(source), [target] "+r"(target)
                         : [pitch] "r"(pitch), [count] "r"(count)
                         : "lr", "q0", "memory");
        return target;
    }
#endif
    for (; count != 0u; --count) {
        tesla_helium_block(target, source, lanes);
        source += pitch;
        target += TESLA_HELIUM_LANES;
    }
    return target;
}

#ifdef __cplusplus
}
#endif

#endif /* TESLA_HELIUM_H */
