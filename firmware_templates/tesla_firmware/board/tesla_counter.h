/* What a counter of cycles offers to its board. */
#ifndef TESLA_COUNTER_H
#define TESLA_COUNTER_H

#include "tesla_board.h"

#include <stdint.h>

/* Starts counting. `clock_hz` is what tesla_clock_init returned. Returns what is counted: cycles;
 * instructions where QEMU runs the firmware (see TESLA_TARGET_INSTRUCTIONS_OF_TICKS); ticks of an
 * unknown length in any other emulator. */
tesla_board_counter_t tesla_counter_init(uint32_t clock_hz);

/* The count so far. Takes the same instructions each time. */
uint64_t tesla_counter_read(void);

/* The counter's entry of the vector table, TESLA_TARGET_COUNTER_INTERRUPT, where it needs one. */
void tesla_counter_interrupt(void);

#endif /* TESLA_COUNTER_H */
