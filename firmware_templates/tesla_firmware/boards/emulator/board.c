/* The emulated board: a Cortex-M with the peripherals that tesla_host.emulator provides.
 *
 * Reading the counters takes the same instructions every time, so differences are exact. */
#include "tesla_board.h"
#include "tesla_target.h"

#define REGISTER(offset) (*(volatile uint32_t *)(TESLA_TARGET_DEVICES + (offset)))
#define UART_RECEIVE     0x00u /* read: 0x100 | byte, or 0 when nothing has come */
#define UART_SEND        0x04u /* write: one byte */
#define IDLE             0x08u /* write: stop the machine until a byte comes */
#define COUNTERS_LATCH   0x0Cu /* write: freeze the counters */
#define COUNTERS         0x10u /* read: low and high word of each frozen counter */

tesla_board_info_t tesla_board = {TESLA_TARGET_NAME,
                                  TESLA_TARGET_CPU,
                                  TESLA_TARGET_CLOCK_HZ,
                                  TESLA_TARGET_COUNTERS,
                                  {{"instructions", 0}, {"cycles", TESLA_TARGET_CLOCK_HZ}}};

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
