/* How deep the stack ever was: as far as the paint is gone. */
#include "stack.h"

#include "tesla_board.h"

void tesla_board_stack(uint32_t *size, uint32_t *used) {
    const uint32_t *lowest = tesla_stack_bottom;
    while (lowest < tesla_stack_top && *lowest == TESLA_STACK_PATTERN) {
        lowest++;
    }
    *size = (uint32_t)((uintptr_t)tesla_stack_top - (uintptr_t)tesla_stack_bottom);
    *used = (uint32_t)((uintptr_t)tesla_stack_top - (uintptr_t)lowest);
}
