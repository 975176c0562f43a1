/* Vector table and reset of a Cortex-M: paints the stack, fills .data, clears .bss. */
#include "tesla_app.h"

#include <stdint.h>

#define STACK_PATTERN 0x7E57A11Eu /* as in board.c */

extern uint32_t tesla_stack_bottom[]; /* all from the linker script */
extern uint32_t tesla_stack_top[];
extern uint32_t tesla_data_start[];
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

/* The volatile accesses keep the compiler from calling memset or memcpy before memory is ready. */
__attribute__((used)) void Reset_Handler(void) {
    uint32_t marker = 0;
    volatile uint32_t *word = tesla_stack_bottom;
    volatile uint32_t *const live = &marker - 16; /* spare this function's own frame */
    while (word < live) {
        *word++ = STACK_PATTERN;
    }
    const volatile uint32_t *source = tesla_data_load;
    for (word = tesla_data_start; word < tesla_data_end; word++) {
        *word = *source++;
    }
    for (word = tesla_bss_start; word < tesla_bss_end; word++) {
        *word = 0;
    }
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
