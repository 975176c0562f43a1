/* Vector table and reset of a Cortex-M: paints the stack, fills .data, clears .bss. */
#include "tesla_app.h"
#include "tesla_stack.h"

#include <stdint.h>

extern uint32_t tesla_data_start[]; /* all from the linker script */
extern uint32_t tesla_data_end[];
extern const uint32_t tesla_data_load[];
extern uint32_t tesla_bss_start[];
extern uint32_t tesla_bss_end[];

void Reset_Handler(void);

/* Every fault and interrupt ends here; a debugger, or the emulator, shows where it came from. */
static void stop(void) {
    for (;;) {
    }
}

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
    tesla_app_main();
    stop();
}

typedef struct {
    const uint32_t *stack_top;
    void (*handlers[15])(void);
} vector_table_t;

__attribute__((used, section(".vectors"))) const vector_table_t tesla_vectors = {
    tesla_stack_top,
    {Reset_Handler, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop,
     stop},
};
