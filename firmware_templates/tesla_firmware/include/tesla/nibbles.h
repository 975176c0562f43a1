/* Weights of four bits, two to a byte.
 *
 * Output channels 2 p and 2 p + 1 share the bytes of row p: the even channel's weight is the lower
 * half of a byte, the odd one's the upper half, both -7 .. 7 in two's complement. A row has a byte
 * for each input of a filter, in the order of int8 weights, so that leading inputs are leading
 * bytes and leading outputs are leading rows. */
#ifndef TESLA_NIBBLES_H
#define TESLA_NIBBLES_H

#include <stdint.h>

/* The weight of the even output channel. */
static inline int32_t tesla_nibbles_even(int32_t pair) {
    return ((pair & 15) ^ 8) - 8;
}

/* The weight of the odd output channel; shifting right keeps the sign, see tesla/requantize.h. */
static inline int32_t tesla_nibbles_odd(int32_t pair) {
    return pair >> 4;
}

#endif /* TESLA_NIBBLES_H */
