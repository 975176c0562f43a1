/* Arm's MPS2 board with a Cortex-M image (AN385, AN386, AN500), as QEMU emulates it.
 *
 * A timer counts instructions there (tesla_ticks.h). Two timers are read: a fine one of 32 bits,
 * and one of 256 ticks a step, which tells how often the first one has gone round. */
#include "tesla_board.h"
#include "tesla_target.h"
#include "tesla_ticks.h"
#include "tesla_uart.h"

#define TIMER(offset)     (*(volatile uint32_t *)(TESLA_TARGET_TIMER + (offset)))
#define TIMER_CONTROL     0x00u
#define TIMER_VALUE       0x04u /* counts down */
#define TIMER_RELOAD      0x08u
#define DUAL(offset)      (*(volatile uint32_t *)(TESLA_TARGET_DUAL_TIMER + (offset)))
#define DUAL_VALUE        0x04u /* counts down */
#define DUAL_CONTROL      0x08u
#define DUAL_FREE_RUNNING 0x8Au /* on, 32 bits, one step in 256 ticks */
#define COARSE_STEP_BITS  8

static struct {
    uint32_t fine;
    uint32_t coarse;
    uint64_t instructions;
} last;

tesla_board_info_t tesla_board = {
    TESLA_TARGET_NAME, TESLA_TARGET_CPU, TESLA_TARGET_CLOCK_HZ, 1, {{"instructions", 0}, {"", 0}}};

void tesla_board_init(void) {
    tesla_uart_init();
    TIMER(TIMER_RELOAD) = UINT32_MAX;
    TIMER(TIMER_VALUE) = UINT32_MAX;
    TIMER(TIMER_CONTROL) = 1;
    DUAL(DUAL_CONTROL) = DUAL_FREE_RUNNING;
    last.fine = TIMER(TIMER_VALUE);
    last.coarse = DUAL(DUAL_VALUE);
}

void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    const uint32_t fine = TIMER(TIMER_VALUE);
    const uint32_t coarse = DUAL(DUAL_VALUE);
    const uint32_t part = last.fine - fine;
    const uint64_t about = (uint64_t)(last.coarse - coarse) << COARSE_STEP_BITS;
    const uint64_t rounds = (about - part + (UINT32_MAX / 2u + 1u)) >> 32;
    const uint64_t passed = (rounds << 32) + part;
    last.instructions += tesla_ticks_instructions(passed);
    last.fine = fine;
    last.coarse = coarse;
    ticks[0] = last.instructions;
    ticks[1] = 0;
}
