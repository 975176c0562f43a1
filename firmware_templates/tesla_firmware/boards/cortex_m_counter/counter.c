/* Cycles of a Cortex-M: of its debug unit (DWT), or of SysTick where that stands still.
 *
 * SysTick has 24 bits; its interrupt counts the rounds. QEMU has no DWT, and SysTick counts
 * instructions there (tesla_ticks.h). What the interrupt itself takes is measured at boot and taken
 * off. */
#include "tesla_counter.h"

#include "tesla_register.h"
#include "tesla_target.h"
#include "tesla_ticks.h"

#define DEBUG_CONTROL   0xE000EDFCu /* bit 24: trace units on */
#define DWT_CONTROL     0xE0001000u
#define DWT_CYCLES      0xE0001004u
#define DWT_LOCK        0xE0001FB0u
#define DWT_KEY         0xC5ACCE55u
#define SYSTICK_CONTROL 0xE000E010u
#define SYSTICK_RELOAD  0xE000E014u
#define SYSTICK_VALUE   0xE000E018u
#define SYSTICK_RUN     7u /* on, with its interrupt, at the CPU's clock */
#define ROUND_BITS      24
#define ROUND_MASK      0xFFFFFFu
#define INTERRUPT_STATE 0xE000ED04u
#define PEND_BIT        26
#define WAIT_LAPS       2000u /* several instructions each */
#define SHORT           4000u /* instructions, or cycles: less than the wait, more than before it */
#define ADVANCE_ATTEMPTS 8u

#ifdef TESLA_TARGET_INSTRUCTIONS_OF_TICKS
#define EMULATION "instructions"
#else
#define EMULATION "ticks"
#endif

static struct {
    uint64_t count;
    uint64_t ticks;           /* at the last reading */
    volatile uint32_t rounds; /* of SysTick */
    uint32_t counted_rounds;  /* at the last reading */
    uint32_t call_cost;       /* of its interrupt, in counts */
    uint32_t cycles;          /* of the DWT, at the last reading */
    bool has_dwt;
    bool emulated;
} counter;

/* The upper half of a product: division by multiplying, which takes the same time each time. */
static uint64_t upper_product(uint64_t a, uint64_t b) {
    const uint64_t a_low = (uint32_t)a;
    const uint64_t a_high = a >> 32;
    const uint64_t b_low = (uint32_t)b;
    const uint64_t b_high = b >> 32;
    const uint64_t low = (a_low * b_low) >> 32;
    const uint64_t first = a_high * b_low + low;
    const uint64_t second = a_low * b_high + (uint32_t)first;
    return a_high * b_high + (first >> 32) + (second >> 32);
}

/* Ticks to counts. */
static uint64_t scale(uint64_t ticks) {
#if TESLA_TICKS_OF > 1
    const uint64_t reciprocal = UINT64_MAX / TESLA_TICKS_OF + 1u;
    const uint64_t instructions = upper_product(tesla_ticks_dividend(ticks), reciprocal);
    return counter.emulated ? instructions : ticks;
#else
    (void)upper_product;
    return ticks;
#endif
}

static void advance_dwt(void) {
    const uint32_t now = TESLA_REGISTER(DWT_CYCLES);
    counter.count += now - counter.cycles;
    counter.cycles = now;
}

/* The value is taken again where a round ended since the interrupts are masked: which of the two
 * came first, the value or the end, cannot be told. */
static void advance_systick(void) {
    const uint32_t first = TESLA_REGISTER(SYSTICK_VALUE);
    const uint32_t pending = (TESLA_REGISTER(INTERRUPT_STATE) >> PEND_BIT) & 1u;
    const uint32_t second = TESLA_REGISTER(SYSTICK_VALUE);
    const uint32_t value = first ^ ((first ^ second) & (0u - pending));
    const uint32_t rounds = counter.rounds;
    const uint64_t whole = (uint64_t)rounds + pending;
    const uint64_t ticks = (whole << ROUND_BITS) + ((0u - value) & ROUND_MASK); /* ends at 0 */
    const uint32_t cost = (rounds - counter.counted_rounds) * counter.call_cost;
    counter.count += scale(ticks - counter.ticks) - cost;
    counter.ticks = ticks;
    counter.counted_rounds = rounds;
}

uint64_t tesla_counter_read(void) {
    const uint32_t before = tesla_mask_interrupts();
    if (counter.has_dwt) {
        advance_dwt();
    } else {
        advance_systick();
    }
    const uint64_t count = counter.count;
    tesla_restore_interrupts(before);
    return count;
}

void SysTick_Handler(void);
void SysTick_Handler(void) {
    counter.rounds++;
    if (counter.has_dwt) {
        advance_dwt(); /* before its 32 bits go round */
    }
}

static bool start_dwt(void) {
#if __ARM_ARCH >= 7
    tesla_change(DEBUG_CONTROL, 0, 1u << 24);
    TESLA_REGISTER(DWT_LOCK) = DWT_KEY;
    tesla_change(DWT_CONTROL, 0, 1u);
    counter.cycles = TESLA_REGISTER(DWT_CYCLES);
    for (uint32_t i = 0; i < ADVANCE_ATTEMPTS; i++) {
        if (TESLA_REGISTER(DWT_CYCLES) != counter.cycles) {
            return true;
        }
    }
#endif
    return false;
}

static uint64_t cost_of_waiting(void) {
    const uint64_t start = tesla_counter_read();
    for (volatile uint32_t i = 0; i < WAIT_LAPS; i++) {
    }
    return tesla_counter_read() - start;
}

/* The first round is so short that it ends during the first wait, and no other one does. */
static void start_systick(void) {
    TESLA_REGISTER(SYSTICK_RELOAD) =
        counter.emulated ? SHORT * TESLA_TICKS_OF / TESLA_INSTRUCTIONS_OF : SHORT;
    TESLA_REGISTER(SYSTICK_VALUE) = 0;
    TESLA_REGISTER(SYSTICK_CONTROL) = SYSTICK_RUN;
    TESLA_REGISTER(SYSTICK_RELOAD) = ROUND_MASK;
    if (!counter.has_dwt) {
        (void)tesla_counter_read();
        const uint64_t interrupted = cost_of_waiting();
        const uint64_t alone = cost_of_waiting();
        counter.call_cost = interrupted > alone ? (uint32_t)(interrupted - alone) : 0u;
    }
}

tesla_board_counter_t tesla_counter_init(uint32_t clock_hz) {
    const tesla_board_counter_t cycles = {"cycles", clock_hz};
    const tesla_board_counter_t others = {EMULATION, 0};
    counter.emulated = clock_hz == 0;
    counter.has_dwt = start_dwt();
    start_systick();
    return counter.emulated ? others : cycles;
}
