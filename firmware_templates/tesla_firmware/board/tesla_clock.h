/* What a chip's driver of clocks and pins offers to its board and to its UART. */
#ifndef TESLA_CLOCK_H
#define TESLA_CLOCK_H

#include <stdint.h>

/* Starts the clock of the row's TESLA_TARGET_CLOCK_HZ, and the bus and the pins of the UART. Every
 * wait has an end: an oscillator that does not come, or a PLL that does not lock, is done without.
 * Returns the clock of the CPU that was reached, in Hz; 0 where the clock control answers nothing,
 * which only an emulator's does. */
uint32_t tesla_clock_init(void);

/* The clock that the UART divides, in Hz, after tesla_clock_init; never 0. */
uint32_t tesla_clock_uart_hz(void);

#endif /* TESLA_CLOCK_H */
