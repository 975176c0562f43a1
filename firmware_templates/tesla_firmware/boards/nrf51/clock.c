/* The nRF51 at 16 MHz, and its cycles: it has neither DWT nor SysTick, but a timer of 32 bits at
 * the clock of its CPU. That goes round after 268 s, and an interrupt twice in a round notices.
 * What it takes itself, a few instructions, is counted like everything else.
 *
 * In QEMU the timer counts instructions (tesla_ticks.h). */
#include "tesla_clock.h"
#include "tesla_counter.h"
#include "tesla_nrf.h"
#include "tesla_register.h"
#include "tesla_target.h"
#include "tesla_ticks.h"

#define TIMER     0x40008000u
#define START     (TIMER + 0x000u)
#define CLEAR     (TIMER + 0x00Cu)
#define CAPTURE   (TIMER + 0x040u)
#define EARLY     (TIMER + 0x144u) /* the second register of compares was met, */
#define LATE      (TIMER + 0x148u) /* or the third one */
#define INTERRUPT (TIMER + 0x304u)
#define BOTH_BITS (3u << 17)
#define MODE      (TIMER + 0x504u)
#define WIDTH     (TIMER + 0x508u)
#define PRESCALER (TIMER + 0x510u)
#define CAPTURED  (TIMER + 0x540u)
#define AT_EARLY  (TIMER + 0x544u)
#define AT_LATE   (TIMER + 0x548u)
#define QUARTER   0x40000000u
#define WIDTH_32  3u
#define CLOCK_HZ  16000000u

static struct {
    uint64_t count;
    uint64_t ticks;  /* at the last reading */
    uint32_t rounds; /* of 32 bits */
    uint32_t value;  /* of the timer, when it was looked at last */
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
    TESLA_REGISTER(AT_EARLY) = QUARTER;
    TESLA_REGISTER(AT_LATE) = 3u * QUARTER;
    TESLA_REGISTER(CLEAR) = 1;
    TESLA_REGISTER(START) = 1;
    TESLA_REGISTER(EARLY) = 0;
    TESLA_REGISTER(LATE) = 0;
    TESLA_REGISTER(INTERRUPT) = BOTH_BITS;
    tesla_enable_interrupt(TESLA_TARGET_COUNTER_INTERRUPT);
    return counter.emulated ? instructions : cycles;
}

/* Ticks since the start. The interrupt looks at a quarter and at three quarters of each round, so
 * that a value below the last one means a new round; some ticks sooner or later do not matter. */
static uint64_t now(void) {
    TESLA_REGISTER(CAPTURE) = 1;
    const uint32_t value = TESLA_REGISTER(CAPTURED);
    counter.rounds += value < counter.value ? 1u : 0u;
    counter.value = value;
    return ((uint64_t)counter.rounds << 32) + value;
}

void tesla_counter_interrupt(void) {
    TESLA_REGISTER(EARLY) = 0;
    TESLA_REGISTER(LATE) = 0;
    (void)TESLA_REGISTER(LATE); /* so that the interrupt is gone before this function is */
    (void)now();
}

uint64_t tesla_counter_read(void) {
    const uint32_t before = tesla_mask_interrupts();
    const uint64_t ticks = now();
    const uint64_t passed = ticks - counter.ticks;
    const uint64_t instructions = tesla_ticks_instructions(passed);
    counter.count += counter.emulated ? instructions : passed;
    counter.ticks = ticks;
    const uint64_t count = counter.count;
    tesla_restore_interrupts(before);
    return count;
}
