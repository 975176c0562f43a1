/* The stack of a Cortex-M: painted at reset, so that its deepest use shows. */
#ifndef TESLA_STACK_H
#define TESLA_STACK_H

#include <stdint.h>

#define TESLA_STACK_PATTERN 0x7E57A11Eu

extern uint32_t tesla_stack_bottom[]; /* from the linker script */
extern uint32_t tesla_stack_top[];

#endif /* TESLA_STACK_H */
