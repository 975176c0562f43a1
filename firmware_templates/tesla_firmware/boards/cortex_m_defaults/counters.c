/* The counter of a user's own board with a Cortex-M, started when it is first read.
 *
 * The debug unit counts on chips alone: where it does, these are cycles, and else QEMU's
 * instructions. The smallest cores lack it; there the board's file tells which it is. */
#include "tesla_board.h"
#include "tesla_counter.h"
#include "tesla_register.h"
#include "tesla_target.h"

#define DWT_CYCLES 0xE0001004u

__attribute__((weak)) tesla_board_info_t tesla_board = {
    TESLA_TARGET_NAME, TESLA_TARGET_CPU, TESLA_TARGET_CLOCK_HZ, 1, {{"cycles", 0}, {"", 0}}};

static bool emulated(void) {
#ifndef TESLA_TARGET_INSTRUCTIONS_OF_TICKS
    return false;
#elif __ARM_ARCH >= 7
    const uint32_t cycles = TESLA_REGISTER(DWT_CYCLES);
    return TESLA_REGISTER(DWT_CYCLES) == cycles;
#else
    return true;
#endif
}

__attribute__((weak)) void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    static bool running;
    if (!running) {
        running = true;
        tesla_board.counters[0] = tesla_counter_init(0); /* of an unknown clock: as emulated */
        if (!emulated()) {
            tesla_board.counters[0] = tesla_counter_init(TESLA_TARGET_CLOCK_HZ);
        }
    }
    ticks[0] = tesla_counter_read();
    ticks[1] = 0;
}
