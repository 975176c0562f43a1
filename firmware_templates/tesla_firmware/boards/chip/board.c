/* A microcontroller of the catalogue: its clock, its UART and its counter, put together. */
#include "tesla_board.h"

#include "tesla_clock.h"
#include "tesla_counter.h"
#include "tesla_target.h"
#include "tesla_uart.h"

tesla_board_info_t tesla_board = {
    TESLA_TARGET_NAME, TESLA_TARGET_CPU, 0, 1, {{"cycles", 0}, {"", 0}}};

/* The counter measures itself first: no byte may interrupt that. */
void tesla_board_init(void) {
    tesla_board.clock_hz = tesla_clock_init();
    tesla_board.counters[0] = tesla_counter_init(tesla_board.clock_hz);
    tesla_uart_init();
}

void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    ticks[0] = tesla_counter_read();
    ticks[1] = 0;
}
