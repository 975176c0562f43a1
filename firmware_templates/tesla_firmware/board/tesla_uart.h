/* What a UART driver offers to its board, beside the byte functions of tesla_board.h. */
#ifndef TESLA_UART_H
#define TESLA_UART_H

/* Makes the UART ready. Called once, before any byte. */
void tesla_uart_init(void);

/* The UART's entry of the vector table, TESLA_TARGET_UART_INTERRUPT. A driver that never takes its
 * interrupt has none. */
void tesla_uart_interrupt(void);

#endif /* TESLA_UART_H */
