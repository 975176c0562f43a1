/* What a UART driver offers to its board, beside the byte functions of tesla_board.h. */
#ifndef TESLA_UART_H
#define TESLA_UART_H

/* Makes the UART ready. Called once, before any byte. */
void tesla_uart_init(void);

#endif /* TESLA_UART_H */
