/* What STM32 families with pins of alternate functions share. */
#ifndef TESLA_STM32_H
#define TESLA_STM32_H

/* Gives the UART the row's pins TX and RX of PORT; the port's clock is on already. */
void tesla_stm32_pins(void);

#endif /* TESLA_STM32_H */
