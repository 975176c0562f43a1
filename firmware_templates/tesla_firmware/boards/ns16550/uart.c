/* The UART 16550 and its many likenesses, with registers of one byte and a queue of 16 of them. */
#include "tesla_board.h"
#include "tesla_register.h"
#include "tesla_target.h"
#include "tesla_uart.h"

#define UART(offset)      (*(volatile uint8_t *)(TESLA_TARGET_UART + (offset)))
#define DATA              0u /* with DIVISOR_ACCESS: the divisor's low byte */
#define INTERRUPT_ENABLE  1u /* with DIVISOR_ACCESS: the divisor's high byte */
#define QUEUE_CONTROL     2u
#define LINE_CONTROL      3u
#define LINE_STATUS       5u
#define RECEIVE_INTERRUPT 1u
#define QUEUE_ENABLE      7u /* and empty both directions */
#define EIGHT_BITS        3u
#define DIVISOR_ACCESS    0x80u
#define RECEIVED          1u
#define SENT              0x20u /* there is room for a byte */
#define BAUD              115200u
#define DIVISOR           (TESLA_TARGET_UART_CLOCK_HZ / (16u * BAUD))

void tesla_uart_init(void) {
    UART(LINE_CONTROL) = DIVISOR_ACCESS;
    UART(DATA) = DIVISOR & 0xFFu;
    UART(INTERRUPT_ENABLE) = DIVISOR >> 8;
    UART(LINE_CONTROL) = EIGHT_BITS;
    UART(QUEUE_CONTROL) = QUEUE_ENABLE;
    UART(INTERRUPT_ENABLE) = RECEIVE_INTERRUPT;
}

int tesla_board_read_byte(void) {
    return (UART(LINE_STATUS) & RECEIVED) != 0u ? UART(DATA) : -1;
}

void tesla_board_write_byte(uint8_t byte) {
    for (uint32_t i = 0; i < TESLA_WAIT_LOOKS && (UART(LINE_STATUS) & SENT) == 0u; i++) {
    }
    UART(DATA) = byte;
}
