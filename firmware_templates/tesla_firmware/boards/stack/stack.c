/* How deep the stack ever was: as far as the paint is gone. Start-up code has painted it. */
#include "tesla_stack.h"

#include "tesla_board.h"

__attribute__((weak)) void tesla_board_stack(uint32_t *size, uint32_t *used) {
    const uint32_t *lowest = tesla_stack_bottom;
    while (lowest < tesla_stack_top && *lowest == TESLA_STACK_PATTERN) {
        lowest++;
    }
    *size = (uint32_t)((uintptr_t)tesla_stack_top - (uintptr_t)tesla_stack_bottom);
    *used = (uint32_t)((uintptr_t)tesla_stack_top - (uintptr_t)lowest);
}
