/* What the UART's interrupt received and nobody has read yet. */
#ifndef TESLA_RING_H
#define TESLA_RING_H

#include <stdint.h>

/* Adds a byte, from the UART's interrupt alone. Forgets it when TESLA_BOARD_RECEIVE_BYTES wait: the
 * link then misses a frame, and repeats it. */
void tesla_ring_put(uint8_t byte);

#endif /* TESLA_RING_H */
