/* The UART of Nordic's nRF51 and nRF52 (not the UARTE), and its pins. Six bytes deep.
 *
 * Facts: nRF51 series reference manual, nRF52840 product specification, "UART". */
#include "tesla_board.h"
#include "tesla_register.h"
#include "tesla_ring.h"
#include "tesla_target.h"
#include "tesla_uart.h"

#define UART(offset)      (TESLA_TARGET_UART + (offset))
#define START_RECEIVING   UART(0x000u)
#define START_SENDING     UART(0x008u)
#define RECEIVED          UART(0x108u)
#define SENT              UART(0x11Cu)
#define ENABLE_INTERRUPTS UART(0x304u)
#define ENABLE            UART(0x500u)
#define PIN_RTS           UART(0x508u)
#define PIN_TX            UART(0x50Cu)
#define PIN_CTS           UART(0x510u)
#define PIN_RX            UART(0x514u)
#define RECEIVE_DATA      UART(0x518u)
#define TRANSMIT_DATA     UART(0x51Cu)
#define BAUD_RATE         UART(0x524u)
#define BAUD_115200       0x01D7E000u
#define ENABLED           4u
#define RECEIVED_BIT      (1u << 2)
#define NO_PIN            0xFFFFFFFFu
#define PORT              0x50000000u
#define PORT_SET          (PORT + 0x508u)
#define PORT_OUTPUTS      (PORT + 0x518u)
#define PORT_PIN(pin)     (PORT + 0x700u + 4u * (pin))
#define INPUT_PULLED_UP   0xCu

void tesla_uart_init(void) {
    TESLA_REGISTER(PORT_SET) = 1u << TESLA_TARGET_TX; /* idle before the UART takes over */
    TESLA_REGISTER(PORT_OUTPUTS) = 1u << TESLA_TARGET_TX;
    TESLA_REGISTER(PORT_PIN(TESLA_TARGET_RX)) = INPUT_PULLED_UP;
    TESLA_REGISTER(PIN_TX) = TESLA_TARGET_TX;
    TESLA_REGISTER(PIN_RX) = TESLA_TARGET_RX;
    TESLA_REGISTER(PIN_RTS) = NO_PIN;
    TESLA_REGISTER(PIN_CTS) = NO_PIN;
    TESLA_REGISTER(BAUD_RATE) = BAUD_115200;
    TESLA_REGISTER(ENABLE) = ENABLED;
    TESLA_REGISTER(RECEIVED) = 0;
    TESLA_REGISTER(ENABLE_INTERRUPTS) = RECEIVED_BIT;
    tesla_enable_interrupt(TESLA_TARGET_UART_INTERRUPT);
    TESLA_REGISTER(START_SENDING) = 1;
    TESLA_REGISTER(START_RECEIVING) = 1;
}

/* Reading a byte raises the event again where another one waits: it is cleared before. */
void tesla_uart_interrupt(void) {
    while (TESLA_REGISTER(RECEIVED) != 0u) {
        TESLA_REGISTER(RECEIVED) = 0;
        tesla_ring_put((uint8_t)TESLA_REGISTER(RECEIVE_DATA));
    }
}

void tesla_board_write_byte(uint8_t byte) {
    TESLA_REGISTER(SENT) = 0;
    TESLA_REGISTER(TRANSMIT_DATA) = byte;
    (void)tesla_wait(SENT, 1u, 1u);
}
