/* Which taps of a window lie inside the image. */
#ifndef TESLA_WINDOW_H
#define TESLA_WINDOW_H

#include <stdint.h>

/* Taps first .. end - 1 along one axis, and where the first of them falls in the image. */
typedef struct {
    uint32_t first;
    uint32_t end;
    uint32_t position;
} tesla_taps_t;

/* output    index along the output axis
 * stride    of the window; pad is the padding before the image
 * taps      the window's size along the axis; length is the image's */
static inline tesla_taps_t tesla_taps(uint32_t output, uint32_t stride, uint32_t pad, uint32_t taps,
                                      uint32_t length) {
    const uint32_t start = output * stride; /* in the padded image */
    const uint32_t first = start < pad ? pad - start : 0u;
    const uint32_t room = length + pad - start; /* taps up to the image's end */
    const tesla_taps_t inside = {first, taps < room ? taps : room, start + first - pad};
    return inside;
}

#endif /* TESLA_WINDOW_H */
