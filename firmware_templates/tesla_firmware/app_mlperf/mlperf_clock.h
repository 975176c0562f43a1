/* Time since boot in microseconds, from the board's counters. */
#ifndef TESLA_MLPERF_CLOCK_H
#define TESLA_MLPERF_CLOCK_H

#include <stdint.h>

/* Chooses the counter and sets it to zero. Call once, after tesla_board_init.
 *
 * It is the first counter that is a clock. A board whose counters are no clocks (QEMU counts
 * instructions, it has no honest time) is taken to execute one instruction a cycle, at its own
 * clock or, where that is not known, at the one that its row of the catalogue gives. */
void tesla_mlperf_clock_start(void);

uint64_t tesla_mlperf_clock_us(void);

#endif /* TESLA_MLPERF_CLOCK_H */
