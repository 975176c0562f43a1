/* Counters that every RISC-V core in machine mode has, 64 bits in two registers.
 *
 * In QEMU minstret counts exactly while every instruction takes 1 ns (-icount shift=0), and mcycle
 * is the same number: only instructions are told there. */
#include "tesla_board.h"
#include "tesla_target.h"

/* The high half before and after the low one: equal, unless the low half went round in between. */
#define READ_WIDE(value, low_register, high_register)                                              \
    do {                                                                                           \
        uint32_t low, high, again;                                                                 \
        do {                                                                                       \
            __asm__ volatile("csrr %0, " high_register : "=r"(high));                              \
            __asm__ volatile("csrr %0, " low_register : "=r"(low));                                \
            __asm__ volatile("csrr %0, " high_register : "=r"(again));                             \
        } while (high != again);                                                                   \
        (value) = ((uint64_t)high << 32) | low;                                                    \
    } while (0)

#ifdef TESLA_TARGET_INSTRUCTIONS_OF_TICKS
#define COUNTERS 1
#else
#define COUNTERS 2
#endif

__attribute__((weak)) tesla_board_info_t tesla_board = {
    TESLA_TARGET_NAME,
    TESLA_TARGET_CPU,
    TESLA_TARGET_CLOCK_HZ,
    COUNTERS,
    {{"instructions", 0}, {"cycles", TESLA_TARGET_CLOCK_HZ}}};

__attribute__((weak)) void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    READ_WIDE(ticks[0], "minstret", "minstreth");
    ticks[1] = 0;
#if COUNTERS == 2
    READ_WIDE(ticks[1], "mcycle", "mcycleh");
#endif
}
