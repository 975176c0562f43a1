/* What a board need not bring: nothing to make ready, and no sleep while it waits for a byte. */
#include "tesla_board.h"

__attribute__((weak)) void tesla_board_init(void) {
}

__attribute__((weak)) bool tesla_board_idle(void) {
    return true;
}
