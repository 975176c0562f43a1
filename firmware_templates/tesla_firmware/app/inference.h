/* The commands that move inputs and outputs and run the model (docs/protocol.md). */
#ifndef TESLA_INFERENCE_H
#define TESLA_INFERENCE_H

#include "commands.h"
#include "exchange.h"

int tesla_command_load_input(tesla_commands_t *state, tesla_exchange_t *exchange);
int tesla_command_run(tesla_commands_t *state, tesla_exchange_t *exchange);
int tesla_command_read_output(tesla_commands_t *state, tesla_exchange_t *exchange);
int tesla_command_infer(tesla_commands_t *state, tesla_exchange_t *exchange);

/* FEED: writes a part of the input, or nothing where it would pass the end. Never answered. */
void tesla_command_feed(const tesla_exchange_t *exchange);

#endif /* TESLA_INFERENCE_H */
