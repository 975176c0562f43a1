#include "inference.h"

#include "tesla/string.h"
#include "tesla_board.h"

#include <stdbool.h>

/* Writes a part of the input: u32 offset, then the bytes. False, and nothing written, when they
 * would pass the end. */
static bool write_input(const uint8_t *part, uint32_t size) {
    const uint32_t offset = tesla_link_get_u32(part);
    const uint32_t count = size - 4u;
    if (offset > tesla_app_model.input_bytes || count > tesla_app_model.input_bytes - offset) {
        return false;
    }
    tesla_copy(tesla_app_input + offset, part + 4, count);
    return true;
}

int tesla_command_load_input(tesla_commands_t *state, tesla_exchange_t *exchange) {
    (void)state;
    return write_input(exchange->body, exchange->body_size) ? TESLA_OK : TESLA_ERROR_ARGUMENT;
}

void tesla_command_feed(const tesla_exchange_t *exchange) {
    if (exchange->body_size >= 4u) {
        (void)write_input(exchange->body, exchange->body_size);
    }
}

static tesla_status_t run_once(tesla_commands_t *state, tesla_exchange_t *exchange) {
    uint32_t ticks[TESLA_MAX_COUNTERS];
    tesla_board_marker(true);
    tesla_measure_begin(&state->measure);
    const tesla_status_t status = tesla_app_model.run(tesla_app_input, tesla_app_output);
    tesla_measure_end(&state->measure, ticks);
    tesla_board_marker(false);
    if (status == TESLA_OK) {
        tesla_put_ticks(exchange, ticks);
    }
    return status;
}

int tesla_command_run(tesla_commands_t *state, tesla_exchange_t *exchange) {
    const uint16_t count = tesla_link_get_u16(exchange->body);
    if (count == 0 || count > TESLA_LINK_MAX_BODY / (4u * tesla_board.counter_count)) {
        return TESLA_ERROR_ARGUMENT;
    }
    tesla_status_t status = state->ready;
    for (uint16_t i = 0; i < count && status == TESLA_OK; i++) {
        status = run_once(state, exchange);
    }
    return status;
}

int tesla_command_infer(tesla_commands_t *state, tesla_exchange_t *exchange) {
    if (state->ready != TESLA_OK) {
        return state->ready;
    }
    if (!write_input(exchange->body + 4, exchange->body_size - 4u)) {
        return TESLA_ERROR_ARGUMENT;
    }
    /* Parts that were fed got no answer: only here does a lost one show. */
    if (tesla_link_crc32(tesla_app_input, tesla_app_model.input_bytes) !=
        tesla_link_get_u32(exchange->body)) {
        return TESLA_LINK_ERROR_INPUT;
    }
    const tesla_status_t status = run_once(state, exchange);
    if (status == TESLA_OK) {
        const uint32_t room = TESLA_LINK_MAX_BODY - (uint32_t)exchange->reply_size;
        const uint32_t size = tesla_app_model.output_bytes;
        tesla_put_bytes(exchange, tesla_app_output, size < room ? size : room);
    }
    return status;
}

int tesla_command_read_output(tesla_commands_t *state, tesla_exchange_t *exchange) {
    const uint32_t offset = tesla_link_get_u32(exchange->body);
    const uint16_t size = tesla_link_get_u16(exchange->body + 4);
    (void)state;
    if (offset > tesla_app_model.output_bytes || size > tesla_app_model.output_bytes - offset ||
        size > TESLA_LINK_MAX_BODY) {
        return TESLA_ERROR_ARGUMENT;
    }
    tesla_put_bytes(exchange, tesla_app_output + offset, size);
    return TESLA_OK;
}
