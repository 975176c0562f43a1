#include "commands.h"

#include "exchange.h"
#include "hello.h"
#include "inference.h"

#include <stddef.h>

static int set_dp(tesla_commands_t *state, tesla_exchange_t *exchange) {
    if (state->ready != TESLA_OK) {
        return state->ready;
    }
    uint32_t ticks[TESLA_MAX_COUNTERS];
    tesla_measure_begin(&state->measure);
    const tesla_status_t status = tesla_app_model.set_dp(exchange->body[0]);
    tesla_measure_end(&state->measure, ticks);
    tesla_put_ticks(exchange, ticks);
    return status;
}

static tesla_status_t run_with(tesla_commands_t *state, tesla_layer_callback_t callback,
                               void *user) {
    if (state->ready != TESLA_OK) {
        return state->ready;
    }
    tesla_app_model.set_callback(callback, user);
    tesla_measure_layers_begin(&state->layers);
    const tesla_status_t status = tesla_app_model.run(tesla_app_input, tesla_app_output);
    tesla_app_model.set_callback(NULL, NULL);
    return status;
}

static int layer_ticks(tesla_commands_t *state, tesla_exchange_t *exchange) {
    const uint16_t first = tesla_link_get_u16(exchange->body);
    if (first >= tesla_app_model.layer_count) {
        return TESLA_ERROR_ARGUMENT;
    }
    if (first == 0) {
        const tesla_status_t status = run_with(state, tesla_measure_layer, &state->layers);
        if (status != TESLA_OK) {
            return status;
        }
    }
    const uint32_t layer_bytes = 4u * tesla_board.counter_count;
    for (uint32_t i = first; i < tesla_app_model.layer_count &&
                             exchange->reply_size + layer_bytes <= TESLA_LINK_MAX_BODY;
         i++) {
        tesla_put_ticks(exchange, state->layers.ticks + i * tesla_board.counter_count);
    }
    return TESLA_OK;
}

/* One slice of one layer's output, copied while the layer is alive. */
typedef struct {
    tesla_exchange_t *exchange;
    uint32_t offset;
    uint16_t layer;
    uint16_t size;
    bool seen;
} slice_t;

static void copy_slice(void *user, uint16_t layer, const int8_t *output, uint32_t size) {
    slice_t *slice = user;
    if (layer != slice->layer || slice->seen) {
        return;
    }
    slice->seen = true;
    tesla_put_u32(slice->exchange, size);
    if (slice->offset < size) {
        const uint32_t left = size - slice->offset;
        tesla_put_bytes(slice->exchange, output + slice->offset,
                        left < slice->size ? left : slice->size);
    }
}

static int layer_dump(tesla_commands_t *state, tesla_exchange_t *exchange) {
    slice_t slice = {exchange, tesla_link_get_u32(exchange->body + 2),
                     tesla_link_get_u16(exchange->body), tesla_link_get_u16(exchange->body + 6),
                     false};
    if (slice.layer >= tesla_app_model.layer_count || slice.size > TESLA_LINK_MAX_BODY - 4u) {
        return TESLA_ERROR_ARGUMENT;
    }
    const tesla_status_t status = run_with(state, copy_slice, &slice);
    if (status == TESLA_OK && !slice.seen) {
        return TESLA_ERROR_STATE;
    }
    return status;
}

static int stack(tesla_commands_t *state, tesla_exchange_t *exchange) {
    uint32_t size;
    uint32_t used;
    (void)state;
    tesla_board_stack(&size, &used);
    tesla_put_u32(exchange, size);
    tesla_put_u32(exchange, used);
    return TESLA_OK;
}

static int echo(tesla_commands_t *state, tesla_exchange_t *exchange) {
    (void)state;
    tesla_put_bytes(exchange, exchange->body, exchange->body_size);
    return TESLA_OK;
}

typedef struct {
    int (*execute)(tesla_commands_t *state, tesla_exchange_t *exchange);
    uint16_t shortest; /* body of the request, in bytes */
    uint16_t longest;
} command_t;

static const command_t commands[] = {
    [TESLA_COMMAND_SET_DP] = {set_dp, 1, 1},
    [TESLA_COMMAND_LOAD_INPUT] = {tesla_command_load_input, 4, TESLA_LINK_MAX_BODY},
    [TESLA_COMMAND_RUN] = {tesla_command_run, 2, 2},
    [TESLA_COMMAND_READ_OUTPUT] = {tesla_command_read_output, 6, 6},
    [TESLA_COMMAND_LAYER_TICKS] = {layer_ticks, 2, 2},
    [TESLA_COMMAND_LAYER_DUMP] = {layer_dump, 8, 8},
    [TESLA_COMMAND_STACK] = {stack, 0, 0},
    [TESLA_COMMAND_ECHO] = {echo, 0, TESLA_LINK_MAX_BODY},
    [TESLA_COMMAND_INFER] = {tesla_command_infer, 8, TESLA_LINK_MAX_BODY},
};

static int execute(tesla_commands_t *state, uint8_t command, tesla_exchange_t *exchange) {
    if (command >= sizeof commands / sizeof commands[0] || commands[command].execute == NULL) {
        return TESLA_LINK_ERROR_COMMAND;
    }
    if (exchange->body_size < commands[command].shortest ||
        exchange->body_size > commands[command].longest) {
        return TESLA_LINK_ERROR_LENGTH;
    }
    return commands[command].execute(state, exchange);
}

/* Completes the reply whose body stands in `exchange`; `reply` may be the request itself. */
static tesla_answer_t answer(uint8_t *reply, const uint8_t *request, int status,
                             const tesla_exchange_t *exchange) {
    const uint16_t body_size = status == TESLA_OK ? exchange->reply_size : 0;
    reply[0] = TESLA_LINK_VERSION;
    reply[1] = request[1];
    reply[2] = request[2];
    reply[3] = (uint8_t)(request[3] | TESLA_COMMAND_REPLY);
    reply[4] = (uint8_t)status;
    const tesla_answer_t whole = {reply, (uint16_t)(TESLA_LINK_REPLY_HEADER + body_size)};
    return whole;
}

tesla_answer_t tesla_commands_handle(tesla_commands_t *state, uint8_t *request, uint16_t size,
                                     uint32_t crc) {
    const uint16_t sequence = tesla_link_get_u16(request + 1);
    const uint8_t command = request[3];
    tesla_exchange_t exchange = {request + TESLA_LINK_REQUEST_HEADER,
                                 (uint16_t)(size - TESLA_LINK_REQUEST_HEADER),
                                 request + TESLA_LINK_REPLY_HEADER, 0};
    if (request[0] != TESLA_LINK_VERSION) {
        return answer(request, request, TESLA_LINK_ERROR_VERSION, &exchange);
    }
    if (command == TESLA_COMMAND_HELLO) {
        const int status = tesla_hello(state, sequence, &exchange);
        return answer(request, request, status, &exchange);
    }
    if (command == TESLA_COMMAND_FEED) {
        tesla_command_feed(&exchange);
        const tesla_answer_t nothing = {request, 0};
        return nothing;
    }
    if (state->session == 0) {
        return answer(request, request, TESLA_LINK_ERROR_SESSION, &exchange);
    }
    if (sequence == state->last && state->size != 0 && state->crc == crc) {
        const tesla_answer_t again = {state->reply, state->size};
        return again;
    }
    if (sequence != (uint16_t)(state->last + 1u)) {
        return answer(request, request, TESLA_LINK_ERROR_SEQUENCE, &exchange);
    }
    exchange.reply = state->reply + TESLA_LINK_REPLY_HEADER;
    const int status = execute(state, command, &exchange);
    const tesla_answer_t reply = answer(state->reply, request, status, &exchange);
    state->last = sequence;
    state->crc = crc;
    state->size = reply.size;
    return reply;
}

void tesla_commands_start(tesla_commands_t *state) {
    tesla_measure_calibrate(&state->measure);
    state->layers.ticks = tesla_app_layer_ticks;
    state->layers.layer_count = tesla_app_model.layer_count;
    tesla_measure_layers_calibrate(&state->layers);
    state->ready = tesla_app_model.init();
}
