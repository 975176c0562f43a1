/* The nRF51 at 16 MHz, and its cycles: it has neither DWT nor SysTick, but a timer of 32 bits at
 * the clock of its CPU, which goes round after 268 s.
 *
 * In QEMU each instruction takes the same time, several ticks of the timer: rounding what passed
 * between two readings to the nearest number of instructions is exact, and nothing adds up. */
#include "tesla_clock.h"
#include "tesla_counter.h"
#include "tesla_nrf.h"
#include "tesla_register.h"
#include "tesla_target.h"

#define TIMER     0x40008000u
#define START     (TIMER + 0x000u)
#define CLEAR     (TIMER + 0x00Cu)
#define CAPTURE   (TIMER + 0x040u)
#define MODE      (TIMER + 0x504u)
#define WIDTH     (TIMER + 0x508u)
#define PRESCALER (TIMER + 0x510u)
#define CAPTURED  (TIMER + 0x540u)
#define WIDTH_32  3u
#define CLOCK_HZ  16000000u
#define RATIO(n)  ((n) * TESLA_TARGET_INSTRUCTIONS_OF_TICKS)
#define HALF      (TESLA_TARGET_TICKS_OF_INSTRUCTIONS / 2u)

static struct {
    uint64_t count;
    uint32_t ticks; /* at the last reading */
    bool emulated;
} counter;

uint32_t tesla_clock_init(void) {
    return tesla_nrf_start_crystal() ? CLOCK_HZ : 0u;
}

uint32_t tesla_clock_uart_hz(void) {
    return CLOCK_HZ;
}

tesla_board_counter_t tesla_counter_init(uint32_t clock_hz) {
    const tesla_board_counter_t cycles = {"cycles", clock_hz};
    const tesla_board_counter_t instructions = {"instructions", 0};
    counter.emulated = clock_hz == 0;
    TESLA_REGISTER(MODE) = 0;
    TESLA_REGISTER(WIDTH) = WIDTH_32;
    TESLA_REGISTER(PRESCALER) = 0;
    TESLA_REGISTER(CLEAR) = 1;
    TESLA_REGISTER(START) = 1;
    return counter.emulated ? instructions : cycles;
}

uint64_t tesla_counter_read(void) {
    TESLA_REGISTER(CAPTURE) = 1;
    const uint32_t now = TESLA_REGISTER(CAPTURED);
    const uint64_t passed = now - counter.ticks;
    const uint64_t instructions = (RATIO(passed) + HALF) / TESLA_TARGET_TICKS_OF_INSTRUCTIONS;
    counter.count += counter.emulated ? instructions : passed;
    counter.ticks = now;
    return counter.count;
}
