/* Vector table and reset of a Cortex-M: paints the stack, fills .data, clears .bss. */
#include "tesla_app.h"
#include "tesla_counter.h"
#include "tesla_stack.h"
#include "tesla_target.h"
#include "tesla_uart.h"

#include <stdint.h>

extern uint32_t tesla_data_start[]; /* all from the linker script */
extern uint32_t tesla_data_end[];
extern const uint32_t tesla_data_load[];
extern uint32_t tesla_bss_start[];
extern uint32_t tesla_bss_end[];

/* Interrupts of devices that the table has room for: as far as the UART's, or the counter's, which
 * has the larger number where there is one. */
#if defined(TESLA_TARGET_COUNTER_INTERRUPT)
#define DEVICES (TESLA_TARGET_COUNTER_INTERRUPT + 1u)
#elif defined(TESLA_TARGET_UART_INTERRUPT)
#define DEVICES (TESLA_TARGET_UART_INTERRUPT + 1u)
#else
#define DEVICES 0u
#endif

/* A core takes the table's address from a register whose low bits are zero: the table begins at a
 * multiple of its own size, rounded up to a power of two, and of 128 bytes at least. */
#if DEVICES <= 16u
#define TABLE_ALIGNMENT 128
#elif DEVICES <= 48u
#define TABLE_ALIGNMENT 256
#elif DEVICES <= 112u
#define TABLE_ALIGNMENT 512
#elif DEVICES <= 240u
#define TABLE_ALIGNMENT 1024
#else
#define TABLE_ALIGNMENT 2048
#endif

void Reset_Handler(void);
void SysTick_Handler(void);

/* Faults end here; a debugger, or the emulator, shows where it came from. So do interrupts of the
 * core and of devices below that were not overridden. All other entries of devices are 0: their
 * interrupts are never enabled, and one that came all the same would be a fault. */
static void stop(void) {
    for (;;) {
    }
}

__attribute__((weak, alias("stop"))) void SysTick_Handler(void);
__attribute__((weak, alias("stop"))) void tesla_uart_interrupt(void);
__attribute__((weak, alias("stop"))) void tesla_counter_interrupt(void);

typedef struct {
    const uint32_t *stack_top;
    void (*handlers[15u + DEVICES])(void);
} vector_table_t;

__attribute__((used, section(".vectors"), aligned(TABLE_ALIGNMENT)))
const vector_table_t tesla_vectors = {
    tesla_stack_top,
    {Reset_Handler, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop,
     SysTick_Handler,
#ifdef TESLA_TARGET_COUNTER_INTERRUPT
     [15u + TESLA_TARGET_COUNTER_INTERRUPT] = tesla_counter_interrupt,
#endif
#ifdef TESLA_TARGET_UART_INTERRUPT
     [15u + TESLA_TARGET_UART_INTERRUPT] = tesla_uart_interrupt
#endif
    },
};

#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
/* Gives everybody access to the coprocessors 10 and 11: the registers of floats and vectors. */
static void enable_vectors(void) {
    volatile uint32_t *const access_control = (volatile uint32_t *)0xE000ED88u;
    *access_control |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}
#endif

/* The volatile accesses keep the compiler from calling memset or memcpy before memory is ready. */
__attribute__((used)) void Reset_Handler(void) {
    volatile uint32_t marker = 0;
    volatile uint32_t *word = tesla_stack_bottom;
    const uintptr_t live = (uintptr_t)&marker - 64u; /* spare this function's own frame */
    while ((uintptr_t)word < live) {
        *word++ = TESLA_STACK_PATTERN;
    }
    const volatile uint32_t *source = tesla_data_load;
    for (word = tesla_data_start; word < tesla_data_end; word++) {
        *word = *source++;
    }
    for (word = tesla_bss_start; word < tesla_bss_end; word++) {
        *word = 0;
    }
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    enable_vectors();
#endif
#if __ARM_ARCH >= 7 /* smaller cores need not have the register */
    /* A boot loader may have left the address of its own table, without our SysTick. */
    *(volatile uintptr_t *)0xE000ED08u = (uintptr_t)&tesla_vectors;
#endif
    tesla_app_main();
    stop();
}
