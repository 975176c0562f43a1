/* The heart of depthwise convolutions for the DSP instructions: one channel as a plane of int16. */
#ifndef TESLA_PLANE_H
#define TESLA_PLANE_H

#include "tesla/layers.h"
#include "tesla/packed.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One channel of an image with its padding, line after line, the offset added; a line may be a row
 * or a column. `taps` are the filter's, three lines of three. Functions are named after the
 * elements from one line to the next: as many as the taps meet, two more where `length` is odd. */
typedef struct {
    const int16_t *plane; /* aligned to 4 bytes */
    const int8_t *taps;   /* [3][3] */
    const tesla_channel_t *channel;
    int8_t *output;
    uint32_t lines;  /* of the output, at least 1 */
    uint32_t length; /* outputs of a line, at least 1 */
    uint32_t step;   /* elements from one output of a line to the next */
    uint32_t line;   /* elements from one line of the output to the next */
} tesla_plane_t;

/* A depthwise convolution over planes. Lines of a plane are rows of the image, or columns,
 * whichever are longer; as many as a strip needs are widened at a time. */
typedef struct {
    tesla_window_t window;
    uint16_t strip;     /* lines of output made at a time */
    uint16_t pitch;     /* elements from one line to the next */
    uint8_t by_columns; /* whether lines are columns; then the taps are stored by columns, too */
    void (*filter)(const tesla_plane_t *plane); /* one of those below */
} tesla_depthwise_plane_t;

/* Stride 1 and stride 2 in both directions; outputs are saturated to int8. */
void tesla_plane32_dsp(const tesla_plane_t *plane);
void tesla_plane32_stride2_dsp(const tesla_plane_t *plane);
void tesla_plane64_dsp(const tesla_plane_t *plane);
void tesla_plane64_stride2_dsp(const tesla_plane_t *plane);
void tesla_plane128_dsp(const tesla_plane_t *plane);
void tesla_plane128_stride2_dsp(const tesla_plane_t *plane);

#ifdef __cplusplus
}
#endif

#endif /* TESLA_PLANE_H */
