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
    X(TESLA_LINK_ERROR_VERSION, -16)  /* a request of another protocol version */                  \
    X(TESLA_LINK_ERROR_COMMAND, -17)  /* no such command */                                        \
    X(TESLA_LINK_ERROR_LENGTH, -18)   /* a body of the wrong length for the command */             \
    X(TESLA_LINK_ERROR_SESSION, -19)  /* no HELLO since the reset */                               \
    X(TESLA_LINK_ERROR_SEQUENCE, -20) /* neither the next number nor the last one again */         \
    X(TESLA_LINK_ERROR_INPUT, -21)    /* the input is not the one that the host means */

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
    TESLA_COMMAND_ECHO = 9,
    TESLA_COMMAND_FEED = 10,
    TESLA_COMMAND_INFER = 11
} tesla_command_t;

#define TESLA_COMMAND_REPLY 0x80u /* set in the command byte of every reply */

typedef struct {
    tesla_measure_t measure;
    tesla_measure_layers_t layers;
    tesla_status_t ready;                /* of the model's init */
    uint32_t session;                    /* chosen by the host in HELLO; 0 before the first */
    uint16_t opened;                     /* sequence number of the HELLO that opened the session */
    uint16_t last;                       /* sequence number that was executed last */
    uint32_t crc;                        /* of the request that `reply` answers */
    uint16_t size;                       /* of `reply` without CRC; 0: none in this session */
    uint8_t reply[TESLA_LINK_REPLY_MAX]; /* kept: a repeated request gets it again */
} tesla_commands_t;

/* What is to be sent: `size` bytes without the CRC, for which there is room behind them. */
typedef struct {
    uint8_t *payload;
    uint16_t size; /* 0: nothing */
} tesla_answer_t;

/* Starts the model and calibrates the measurements. `state` starts out zeroed. */
void tesla_commands_start(tesla_commands_t *state);

/* Executes the request in request[0 .. size), size >= TESLA_LINK_REQUEST_HEADER, whose CRC is
 * `crc`, if its number is the next one; one that repeats the last (same number, same CRC) is only
 * answered again. `request` has room for TESLA_LINK_REPLY_MAX bytes: HELLO and refusals are
 * answered in its place, so that the reply that is kept survives them. */
tesla_answer_t tesla_commands_handle(tesla_commands_t *state, uint8_t *request, uint16_t size,
                                     uint32_t crc);

#endif /* TESLA_COMMANDS_H */
