/* The commands of the serial link, independent of how their bytes travel (docs/protocol.md). */
#ifndef TESLA_COMMANDS_H
#define TESLA_COMMANDS_H

#include "link.h"
#include "measure.h"
#include "tesla_app.h"

#include <stdbool.h>
#include <stdint.h>

/* Status codes that only the link knows; it sends those of tesla/status.h as well. */
#define TESLA_LINK_STATUS_LIST(X)                                                                  \
    X(TESLA_LINK_ERROR_VERSION, -16) /* a request of another protocol version */                   \
    X(TESLA_LINK_ERROR_COMMAND, -17) /* no such command */                                         \
    X(TESLA_LINK_ERROR_LENGTH, -18)  /* a body of the wrong length for the command */

typedef enum {
#define TESLA_LINK_STATUS_ENTRY(name, value) name = (value),
    TESLA_LINK_STATUS_LIST(TESLA_LINK_STATUS_ENTRY)
#undef TESLA_LINK_STATUS_ENTRY
} tesla_link_status_t;

typedef enum {
    TESLA_COMMAND_HELLO = 1,
    TESLA_COMMAND_SET_DP = 2,
    TESLA_COMMAND_LOAD_INPUT = 3,
    TESLA_COMMAND_RUN = 4,
    TESLA_COMMAND_READ_OUTPUT = 5,
    TESLA_COMMAND_LAYER_TICKS = 6,
    TESLA_COMMAND_LAYER_DUMP = 7,
    TESLA_COMMAND_STACK = 8,
    TESLA_COMMAND_ECHO = 9
} tesla_command_t;

#define TESLA_COMMAND_REPLY 0x80u /* set in the command byte of every reply */

typedef struct {
    tesla_measure_t measure;
    tesla_measure_layers_t layers;
    tesla_status_t ready;                /* of the model's init */
    uint32_t crc;                        /* of the request that `reply` answers */
    uint16_t size;                       /* of `reply` without CRC; 0 before the first */
    uint8_t reply[TESLA_LINK_REPLY_MAX]; /* kept: a repeated request gets it again */
} tesla_commands_t;

/* Starts the model and calibrates the measurements. `state` starts out zeroed. */
void tesla_commands_start(tesla_commands_t *state);

/* Executes the request in request[0 .. size), size >= TESLA_LINK_REQUEST_HEADER, whose CRC is
 * `crc`, unless it repeats the one before (same sequence number, same CRC). Afterwards
 * state->reply[0 .. state->size) is to be sent. */
void tesla_commands_handle(tesla_commands_t *state, const uint8_t *request, uint16_t size,
                           uint32_t crc);

#endif /* TESLA_COMMANDS_H */
