/* What a board gives to the application: a byte pipe, counters, the bounds of its stack.
 *
 * To add a board, implement these in boards/<name>/ (docs/protocol.md describes what the bytes
 * mean). Nothing here is called from an interrupt. */
#ifndef TESLA_BOARD_H
#define TESLA_BOARD_H

#include "tesla_app.h"

#include <stdbool.h>
#include <stdint.h>

/* How many received bytes the board keeps while the application computes and reads none: the size
 * of a buffer that an interrupt, DMA or the operating system fills. 0: not even a few (a polled
 * UART). The host sends the next input ahead only as far as this goes. */
#ifndef TESLA_BOARD_RECEIVE_BYTES
#define TESLA_BOARD_RECEIVE_BYTES 0u
#endif

typedef struct {
    const char *name; /* "cycles", "instructions", "ns": at most 16 bytes */
    uint32_t hz;      /* ticks per second; 0 for a count that is no clock */
} tesla_board_counter_t;

typedef struct {
    const char *name;      /* at most 24 bytes */
    const char *cpu;       /* at most 16 bytes */
    uint32_t clock_hz;     /* of the core; 0 if unknown */
    uint8_t counter_count; /* 1 .. TESLA_MAX_COUNTERS */
    tesla_board_counter_t counters[TESLA_MAX_COUNTERS];
} tesla_board_info_t;

/* Whole once tesla_board_init has returned and the counters were read once: what the clocks came to
 * shows only there, and the counters of a user's own board start when they are first read. */
extern tesla_board_info_t tesla_board;

/* Clocks, UART and counters. Called once, before everything else. */
void tesla_board_init(void);

/* The next received byte, or -1 at once when there is none. */
int tesla_board_read_byte(void);

/* Sends one byte; waits while the transmitter is busy. */
void tesla_board_write_byte(uint8_t byte);

/* Called when no byte is waiting: may sleep until one comes. False: none will ever come. */
bool tesla_board_idle(void);

/* Reads all counters at (nearly) one moment, into ticks[0 .. counter_count - 1]. Counts must not
 * wrap during a measurement: a board with a narrow counter widens it here. */
void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]);

/* Bytes reserved for the stack, and the most that was ever in use; 0 and 0 where unknown. */
void tesla_board_stack(uint32_t *size, uint32_t *used);

/* A pin for a current probe: raised before and lowered after each measured inference, outside of
 * what is counted. A board with such a pin defines TESLA_BOARD_MARKER for all sources and this
 * function; for others it is nothing at all. */
#ifdef TESLA_BOARD_MARKER
void tesla_board_marker(bool running);
#else
static inline void tesla_board_marker(bool running) {
    (void)running;
}
#endif

#endif /* TESLA_BOARD_H */
