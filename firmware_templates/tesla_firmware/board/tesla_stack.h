/* The stack of a microcontroller: painted at reset, so that its deepest use shows. */
#ifndef TESLA_STACK_H
#define TESLA_STACK_H

#define TESLA_STACK_PATTERN 0x7E57A11E

#ifndef __ASSEMBLER__
#include <stdint.h>

extern uint32_t tesla_stack_bottom[]; /* from the linker script */
extern uint32_t tesla_stack_top[];
#endif

#endif /* TESLA_STACK_H */
