/* Arm's PL011, as in RP2040 and RP2350, and in the Stellaris as far as it is used here. */
#include "tesla_board.h"
#include "tesla_clock.h"
#include "tesla_register.h"
#include "tesla_ring.h"
#include "tesla_target.h"
#include "tesla_uart.h"

#define DATA              (TESLA_TARGET_UART + 0x00u)
#define FLAGS             (TESLA_TARGET_UART + 0x18u)
#define DIVIDER           (TESLA_TARGET_UART + 0x24u)
#define DIVIDER_64TH      (TESLA_TARGET_UART + 0x28u)
#define LINE              (TESLA_TARGET_UART + 0x2Cu)
#define CONTROL           (TESLA_TARGET_UART + 0x30u)
#define FIFO_LEVELS       (TESLA_TARGET_UART + 0x34u)
#define INTERRUPTS        (TESLA_TARGET_UART + 0x38u)
#define INTERRUPT_CLEAR   (TESLA_TARGET_UART + 0x44u)
#define RECEIVE_EMPTY     (1u << 4)
#define TRANSMIT_FULL     (1u << 5)
#define EIGHT_BITS_FIFO   (3u << 5 | 1u << 4)
#define ENABLE            (1u << 9 | 1u << 8 | 1u << 0)
#define EIGHTH_FULL       0u
#define RECEIVED_OR_QUIET (1u << 6 | 1u << 4) /* so full, or less for 32 bits long */
#define ALL               0x7FFu
#define BAUD              115200u

/* The divider counts 16ths of a bit, in 64ths of a clock; writing LINE lets it take effect. */
void tesla_uart_init(void) {
    const uint32_t steps = (4u * tesla_clock_uart_hz() + BAUD / 2u) / BAUD;
    TESLA_REGISTER(CONTROL) = 0;
    TESLA_REGISTER(DIVIDER) = steps / 64u;
    TESLA_REGISTER(DIVIDER_64TH) = steps % 64u;
    TESLA_REGISTER(LINE) = EIGHT_BITS_FIFO;
    TESLA_REGISTER(FIFO_LEVELS) = EIGHTH_FULL;
    TESLA_REGISTER(INTERRUPT_CLEAR) = ALL;
    TESLA_REGISTER(INTERRUPTS) = RECEIVED_OR_QUIET;
    TESLA_REGISTER(CONTROL) = ENABLE;
    tesla_enable_interrupt(TESLA_TARGET_UART_INTERRUPT);
}

void tesla_uart_interrupt(void) {
    TESLA_REGISTER(INTERRUPT_CLEAR) = RECEIVED_OR_QUIET;
    while ((TESLA_REGISTER(FLAGS) & RECEIVE_EMPTY) == 0u) {
        tesla_ring_put((uint8_t)TESLA_REGISTER(DATA));
    }
}

void tesla_board_write_byte(uint8_t byte) {
    (void)tesla_wait(FLAGS, TRANSMIT_FULL, 0u);
    TESLA_REGISTER(DATA) = byte;
}
