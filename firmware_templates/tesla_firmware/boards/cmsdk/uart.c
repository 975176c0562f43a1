/* The UART of Arm's Cortex-M System Design Kit, as on the MPS2 and MPS3 boards. One byte deep. */
#include "tesla_board.h"
#include "tesla_register.h"
#include "tesla_target.h"
#include "tesla_uart.h"

#define UART(offset)      (*(volatile uint32_t *)(TESLA_TARGET_UART + (offset)))
#define DATA              0x00u
#define STATE             0x04u /* bit 0: the transmitter is full; bit 1: a byte has come */
#define CONTROL           0x08u
#define INTERRUPT_CLEAR   0x0Cu
#define BAUD_DIVIDER      0x10u
#define TRANSMITTER_FULL  1u
#define RECEIVED          2u
#define ENABLE            3u /* transmitter and receiver */
#define RECEIVE_INTERRUPT 8u
#define INTERRUPT_BIT     (1u << (TESLA_TARGET_UART_INTERRUPT % 32u))
#define INTERRUPT(base)  (*(volatile uint32_t *)((base) + 4u * (TESLA_TARGET_UART_INTERRUPT / 32u)))
#define INTERRUPT_ENABLE INTERRUPT(0xE000E100u)
#define INTERRUPT_UNPEND INTERRUPT(0xE000E280u)
#define BAUD             115200u

/* The interrupt is never taken: it only ends the wait in tesla_board_idle. */
void tesla_uart_init(void) {
    __asm__ volatile("cpsid i" ::: "memory");
    UART(BAUD_DIVIDER) = TESLA_TARGET_CLOCK_HZ / BAUD;
    UART(CONTROL) = ENABLE | RECEIVE_INTERRUPT;
    INTERRUPT_ENABLE = INTERRUPT_BIT;
}

int tesla_board_read_byte(void) {
    return (UART(STATE) & RECEIVED) != 0u ? (int)(UART(DATA) & 0xFFu) : -1;
}

void tesla_board_write_byte(uint8_t byte) {
    (void)tesla_wait(TESLA_TARGET_UART + STATE, TRANSMITTER_FULL, 0u);
    UART(DATA) = byte;
}

/* A byte that came since the last look has its interrupt pending, so that the wait ends at once. */
bool tesla_board_idle(void) {
    __asm__ volatile("wfi" ::: "memory");
    UART(INTERRUPT_CLEAR) = RECEIVED;
    INTERRUPT_UNPEND = INTERRUPT_BIT;
    return true;
}
