#include "exchange.h"

#include "link.h"
#include "tesla/string.h"
#include "tesla_board.h"

void tesla_put_bytes(tesla_exchange_t *exchange, const void *bytes, uint32_t size) {
    if (size <= TESLA_LINK_MAX_BODY - (uint32_t)exchange->reply_size) {
        tesla_copy(exchange->reply + exchange->reply_size, bytes, size);
        exchange->reply_size = (uint16_t)(exchange->reply_size + size);
    }
}

void tesla_put_u8(tesla_exchange_t *exchange, uint8_t value) {
    tesla_put_bytes(exchange, &value, 1);
}

void tesla_put_u16(tesla_exchange_t *exchange, uint16_t value) {
    uint8_t bytes[2];
    tesla_link_put_u16(bytes, value);
    tesla_put_bytes(exchange, bytes, sizeof bytes);
}

void tesla_put_u32(tesla_exchange_t *exchange, uint32_t value) {
    uint8_t bytes[4];
    tesla_link_put_u32(bytes, value);
    tesla_put_bytes(exchange, bytes, sizeof bytes);
}

void tesla_put_float(tesla_exchange_t *exchange, float value) {
    uint32_t bits;
    tesla_copy(&bits, &value, sizeof bits);
    tesla_put_u32(exchange, bits);
}

void tesla_put_text(tesla_exchange_t *exchange, const char *text, uint8_t limit) {
    uint8_t size = 0;
    while (size < limit && text[size] != '\0') {
        size++;
    }
    tesla_put_u8(exchange, size);
    tesla_put_bytes(exchange, text, size);
}

void tesla_put_ticks(tesla_exchange_t *exchange, const uint32_t *ticks) {
    for (uint8_t i = 0; i < tesla_board.counter_count; i++) {
        tesla_put_u32(exchange, ticks[i]);
    }
}
