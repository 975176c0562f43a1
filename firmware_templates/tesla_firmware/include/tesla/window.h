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

/* How many steps of `apart` pixels begin within `pixels`. */
static inline uint32_t tesla_steps(uint32_t pixels, uint32_t apart) {
    return (pixels + apart - 1u) / apart;
}

/* output    index along the output axis
 * stride    of the window; pad is the padding before the image
 * taps      of the window along the axis, `apart` pixels from one to the next
 * length    of the image */
static inline tesla_taps_t tesla_taps(uint32_t output, uint32_t stride, uint32_t pad, uint32_t taps,
                                      uint32_t apart, uint32_t length) {
    const uint32_t start = output * stride; /* in the padded image */
    uint32_t first = start < pad ? pad - start : 0u;
    uint32_t room = length + pad - start; /* taps up to the image's end */
    uint32_t position = start + first - pad;
    if (apart != 1u) {
        first = tesla_steps(first, apart);
        room = tesla_steps(room, apart);
        /* All taps may lie beside a small image. */
        position = first < room ? start + first * apart - pad : 0u;
    }
    const tesla_taps_t inside = {first, taps < room ? taps : room, position};
    return inside;
}

#endif /* TESLA_WINDOW_H */
