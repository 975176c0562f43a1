/* The USART of the newer STM32 (F0, F3, F7, G, H, L4, L5, U5, W), and their LPUART.
 *
 * They differ in what the divider counts: clocks in a bit, or 256ths of a clock. */
#include "tesla_board.h"
#include "tesla_clock.h"
#include "tesla_register.h"
#include "tesla_ring.h"
#include "tesla_target.h"
#include "tesla_uart.h"

#define CONTROL        (TESLA_TARGET_UART + 0x00u)
#define BAUD_DIVIDER   (TESLA_TARGET_UART + 0x0Cu)
#define STATUS         (TESLA_TARGET_UART + 0x1Cu)
#define CLEAR          (TESLA_TARGET_UART + 0x20u)
#define RECEIVE_DATA   (TESLA_TARGET_UART + 0x24u)
#define TRANSMIT_DATA  (TESLA_TARGET_UART + 0x28u)
#define ERRORS         0xFu /* parity, framing, noise, overrun */
#define RECEIVED       (1u << 5)
#define TRANSMIT_EMPTY (1u << 7)
#define ENABLE         (1u << 5 | 1u << 3 | 1u << 2 | 1u << 0) /* interrupt by bytes received */
#define BAUD           115200u

void tesla_uart_init(void) {
    const uint64_t clocks = (uint64_t)tesla_clock_uart_hz() * TESLA_TARGET_UART_DIVIDER_STEPS;
    TESLA_REGISTER(BAUD_DIVIDER) = (uint32_t)((clocks + BAUD / 2u) / BAUD);
    TESLA_REGISTER(CONTROL) = ENABLE;
    tesla_enable_interrupt(TESLA_TARGET_UART_INTERRUPT);
}

/* An overrun would keep the interrupt pending until it is cleared. */
void tesla_uart_interrupt(void) {
    if ((TESLA_REGISTER(STATUS) & RECEIVED) != 0u) {
        tesla_ring_put((uint8_t)TESLA_REGISTER(RECEIVE_DATA));
    }
    TESLA_REGISTER(CLEAR) = ERRORS;
}

void tesla_board_write_byte(uint8_t byte) {
    (void)tesla_wait(STATUS, TRANSMIT_EMPTY, TRANSMIT_EMPTY);
    TESLA_REGISTER(TRANSMIT_DATA) = byte;
}
