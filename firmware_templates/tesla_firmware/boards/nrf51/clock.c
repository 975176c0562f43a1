/* The nRF51 at 16 MHz, and its cycles: it has neither DWT nor SysTick, but a timer of 32 bits at
 * the clock of its CPU. That goes round after 268 s, and an interrupt counts the rounds. What it
 * takes itself, a few instructions once in a round, is counted like everything else.
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
#define ROUND     (TIMER + 0x144u) /* it equals the second register of compares, which is 0 */
#define INTERRUPT (TIMER + 0x304u)
#define ROUND_BIT (1u << 17)
#define MODE      (TIMER + 0x504u)
#define WIDTH     (TIMER + 0x508u)
#define PRESCALER (TIMER + 0x510u)
#define CAPTURED  (TIMER + 0x540u)
#define AT_ROUND  (TIMER + 0x544u)
#define WIDTH_32  3u
#define CLOCK_HZ  16000000u

static struct {
    uint64_t count;
    uint64_t ticks;           /* at the last reading */
    volatile uint32_t rounds; /* of 32 bits */
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
    TESLA_REGISTER(AT_ROUND) = 0;
    TESLA_REGISTER(CLEAR) = 1;
    TESLA_REGISTER(START) = 1;
    TESLA_REGISTER(ROUND) = 0;
    TESLA_REGISTER(INTERRUPT) = ROUND_BIT;
    tesla_enable_interrupt(TESLA_TARGET_COUNTER_INTERRUPT);
    return counter.emulated ? instructions : cycles;
}

void tesla_counter_interrupt(void) {
    TESLA_REGISTER(ROUND) = 0;
    (void)TESLA_REGISTER(ROUND); /* so that the interrupt is gone before this function is */
    counter.rounds++;
}

/* The value is taken again where a round has ended and is not counted yet: which of the two came
 * first, the value or the end, cannot be told. */
static uint64_t now(void) {
    TESLA_REGISTER(CAPTURE) = 1;
    const uint32_t first = TESLA_REGISTER(CAPTURED);
    const uint32_t pending = TESLA_REGISTER(ROUND) & 1u;
    TESLA_REGISTER(CAPTURE) = 1;
    const uint32_t second = TESLA_REGISTER(CAPTURED);
    const uint32_t value = first ^ ((first ^ second) & (0u - pending));
    return (((uint64_t)counter.rounds + pending) << 32) + value;
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
