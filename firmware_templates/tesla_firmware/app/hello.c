#include "hello.h"

#ifndef TESLA_FIRMWARE_VERSION
#define TESLA_FIRMWARE_VERSION "unknown"
#endif

#if TESLA_LINK_MAX_BODY < 256 || TESLA_LINK_MAX_BODY > 65000
#error "TESLA_LINK_MAX_BODY must lie in 256 .. 65000: a HELLO needs 256 bytes"
#endif

#define REGION_BYTES 17u

int tesla_hello(tesla_commands_t *state, uint16_t sequence, tesla_exchange_t *exchange) {
    const tesla_app_model_t *model = &tesla_app_model;
    if (exchange->body_size != 5) {
        return TESLA_LINK_ERROR_LENGTH;
    }
    /* The reply may be written over the request: everything is read first. */
    const uint8_t first = exchange->body[0];
    const uint32_t session = tesla_link_get_u32(exchange->body + 1);
    if (first >= model->region_count || session == 0) {
        return TESLA_ERROR_ARGUMENT;
    }
    if (session != state->session) {
        state->session = session;
        state->opened = sequence;
        state->last = sequence;
        state->size = 0;
    }
    tesla_put_u32(exchange, session);
    tesla_put_u16(exchange, state->opened);
    tesla_put_u16(exchange, state->last);
    tesla_put_u16(exchange, TESLA_LINK_MAX_BODY);
    tesla_put_u32(exchange, TESLA_BOARD_RECEIVE_BYTES);
    tesla_put_text(exchange, TESLA_FIRMWARE_VERSION, 16);
    tesla_put_text(exchange, tesla_board.name, 24);
    tesla_put_text(exchange, tesla_board.cpu, 16);
    tesla_put_u32(exchange, tesla_board.clock_hz);
    tesla_put_u8(exchange, tesla_board.counter_count);
    for (uint8_t i = 0; i < tesla_board.counter_count; i++) {
        tesla_put_text(exchange, tesla_board.counters[i].name, 16);
        tesla_put_u32(exchange, tesla_board.counters[i].hz);
    }
    tesla_put_text(exchange, model->name, 48);
    tesla_put_bytes(exchange, model->digest, 32);
    tesla_put_u32(exchange, model->input_bytes);
    tesla_put_u32(exchange, model->output_bytes);
    tesla_put_u32(exchange, model->arena_bytes);
    tesla_put_u16(exchange, model->layer_count);
    tesla_put_u8(exchange, model->region_count);

    const uint32_t room = (TESLA_LINK_MAX_BODY - 1u - exchange->reply_size) / REGION_BYTES;
    const uint32_t left = (uint32_t)model->region_count - first;
    const uint8_t listed = (uint8_t)(left < room ? left : room);
    tesla_put_u8(exchange, listed);
    for (uint32_t i = first; i < (uint32_t)first + listed; i++) {
        tesla_put_u8(exchange, model->regions[i]);
        tesla_put_float(exchange, model->io[i].input_scale);
        tesla_put_u32(exchange, (uint32_t)model->io[i].input_zero_point);
        tesla_put_float(exchange, model->io[i].output_scale);
        tesla_put_u32(exchange, (uint32_t)model->io[i].output_zero_point);
    }
    return TESLA_OK;
}
