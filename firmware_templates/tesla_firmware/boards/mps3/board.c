/* Arm's MPS3 board with the SSE-300 subsystem (AN547), as QEMU emulates it.
 *
 * The system counter counts instructions there (tesla_ticks.h). */
#include "tesla_board.h"
#include "tesla_target.h"
#include "tesla_ticks.h"
#include "tesla_uart.h"

#define COUNTER_LOW     (*(volatile uint32_t *)(TESLA_TARGET_COUNTER))
#define COUNTER_HIGH    (*(volatile uint32_t *)(TESLA_TARGET_COUNTER + 4u))
#define COUNTER_CONTROL (*(volatile uint32_t *)(TESLA_TARGET_COUNTER_CONTROL))

static struct {
    uint64_t ticks;
    uint64_t instructions;
} last;

tesla_board_info_t tesla_board = {
    TESLA_TARGET_NAME, TESLA_TARGET_CPU, TESLA_TARGET_CLOCK_HZ, 1, {{"instructions", 0}, {"", 0}}};

static uint64_t now(void) {
    uint32_t high = COUNTER_HIGH;
    uint32_t low = COUNTER_LOW;
    while (high != COUNTER_HIGH) { /* the low half went round in between */
        high = COUNTER_HIGH;
        low = COUNTER_LOW;
    }
    return ((uint64_t)high << 32) | low;
}

void tesla_board_init(void) {
    tesla_uart_init();
    COUNTER_CONTROL = 1;
    last.ticks = now();
}

void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    const uint64_t ticked = now();
    const uint64_t passed = ticked - last.ticks;
    last.instructions += tesla_ticks_instructions(passed);
    last.ticks = ticked;
    ticks[0] = last.instructions;
    ticks[1] = 0;
}
