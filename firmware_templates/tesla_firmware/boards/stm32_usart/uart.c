/* The USART of the older STM32: F1, F2, F4 and L1. */
#include "tesla_board.h"
#include "tesla_clock.h"
#include "tesla_register.h"
#include "tesla_ring.h"
#include "tesla_target.h"
#include "tesla_uart.h"

#define STATUS         (TESLA_TARGET_UART + 0x00u)
#define DATA           (TESLA_TARGET_UART + 0x04u)
#define BAUD_DIVIDER   (TESLA_TARGET_UART + 0x08u)
#define CONTROL        (TESLA_TARGET_UART + 0x0Cu)
#define OVERRUN        (1u << 3)
#define RECEIVED       (1u << 5)
#define TRANSMIT_EMPTY (1u << 7)
#define ENABLE         (1u << 13 | 1u << 5 | 1u << 3 | 1u << 2) /* interrupt by bytes received */
#define BAUD           115200u

void tesla_uart_init(void) {
    TESLA_REGISTER(BAUD_DIVIDER) = (tesla_clock_uart_hz() + BAUD / 2u) / BAUD;
    TESLA_REGISTER(CONTROL) = ENABLE;
    tesla_enable_interrupt(TESLA_TARGET_UART_INTERRUPT);
}

/* To read the status and then the data also ends an overrun. */
void tesla_uart_interrupt(void) {
    const uint32_t status = TESLA_REGISTER(STATUS);
    if ((status & (RECEIVED | OVERRUN)) != 0u) {
        const uint32_t data = TESLA_REGISTER(DATA);
        if ((status & RECEIVED) != 0u) {
            tesla_ring_put((uint8_t)data);
        }
    }
}

void tesla_board_write_byte(uint8_t byte) {
    (void)tesla_wait(STATUS, TRANSMIT_EMPTY, TRANSMIT_EMPTY);
    TESLA_REGISTER(DATA) = byte;
}
