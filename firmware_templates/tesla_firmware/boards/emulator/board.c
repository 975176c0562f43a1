/* The emulated board: a Cortex-M4 with the peripherals that tesla_host.emulator provides.
 *
 * Reading the counters takes the same instructions every time, so differences are exact. */
#include "tesla_board.h"

#include <stddef.h>

#define UART_RECEIVE     0x40000000u /* read: 0x100 | byte, or 0 when nothing has come */
#define UART_SEND        0x40000004u /* write: one byte */
#define IDLE             0x40000008u /* write: stop the machine until a byte comes */
#define COUNTERS_LATCH   0x4000000Cu /* write: freeze the counters */
#define COUNTERS         0x40000010u /* read: low and high word of each frozen counter */
#define STACK_PATTERN    0x7E57A11Eu
#define REGISTER(offset) (*(volatile uint32_t *)(offset))

extern uint32_t tesla_stack_bottom[]; /* from the linker script */
extern uint32_t tesla_stack_top[];

const tesla_board_info_t tesla_board = {
    "emulator", "Cortex-M4", TESLA_CLOCK_HZ, 2, {{"instructions", 0}, {"cycles", TESLA_CLOCK_HZ}}};

void tesla_board_init(void) {
}

int tesla_board_read_byte(void) {
    const uint32_t received = REGISTER(UART_RECEIVE);
    return received == 0 ? -1 : (int)(received & 0xFFu);
}

void tesla_board_write_byte(uint8_t byte) {
    REGISTER(UART_SEND) = byte;
}

bool tesla_board_idle(void) {
    REGISTER(IDLE) = 0;
    return true;
}

void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    REGISTER(COUNTERS_LATCH) = 0;
    for (uint32_t i = 0; i < TESLA_MAX_COUNTERS; i++) {
        const uint32_t low = REGISTER(COUNTERS + 8u * i);
        ticks[i] = low | ((uint64_t)REGISTER(COUNTERS + 8u * i + 4u) << 32);
    }
}

void tesla_board_stack(uint32_t *size, uint32_t *used) {
    const uint32_t *lowest = tesla_stack_bottom;
    while (lowest < tesla_stack_top && *lowest == STACK_PATTERN) {
        lowest++;
    }
    *size = (uint32_t)((uintptr_t)tesla_stack_top - (uintptr_t)tesla_stack_bottom);
    *used = (uint32_t)((uintptr_t)tesla_stack_top - (uintptr_t)lowest);
}
