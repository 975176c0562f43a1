/* The HELLO command: who the firmware is, and what its model looks like. */
#ifndef TESLA_HELLO_H
#define TESLA_HELLO_H

#include "commands.h"
#include "exchange.h"

/* Executes HELLO, which opens the session that it names unless it is open. The reply may be written
 * over the request. */
int tesla_hello(tesla_commands_t *state, uint16_t sequence, tesla_exchange_t *exchange);

#endif /* TESLA_HELLO_H */
