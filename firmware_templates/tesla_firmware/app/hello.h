/* The HELLO command: who the firmware is, and what its model looks like. */
#ifndef TESLA_HELLO_H
#define TESLA_HELLO_H

#include "commands.h"
#include "exchange.h"

/* Executes HELLO: the body is the index of the first region to list. */
int tesla_hello(tesla_commands_t *state, tesla_exchange_t *exchange);

#endif /* TESLA_HELLO_H */
