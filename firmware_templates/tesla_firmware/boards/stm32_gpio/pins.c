/* Pins of an STM32 with alternate functions by number: all families but the F1. */
#include "tesla_register.h"
#include "tesla_stm32.h"
#include "tesla_target.h"

#define MODE      (TESLA_TARGET_PORT + 0x00u) /* two bits a pin; 2: alternate function */
#define SPEED     (TESLA_TARGET_PORT + 0x08u) /* two bits a pin; 1: medium */
#define PULL      (TESLA_TARGET_PORT + 0x0Cu) /* two bits a pin; 1: up */
#define FUNCTIONS (TESLA_TARGET_PORT + 0x20u) /* four bits a pin, in two registers */

static void connect(uint32_t pin) {
    const uint32_t pair = 2u * pin;
    const uint32_t four = 4u * (pin % 8u);
    tesla_change(FUNCTIONS + 4u * (pin / 8u), 0xFu << four, TESLA_TARGET_FUNCTION << four);
    tesla_change(SPEED, 3u << pair, 1u << pair);
    tesla_change(PULL, 3u << pair, 1u << pair); /* an open line is idle, not a break */
    tesla_change(MODE, 3u << pair, 2u << pair);
}

void tesla_stm32_pins(void) {
    connect(TESLA_TARGET_TX);
    connect(TESLA_TARGET_RX);
}
