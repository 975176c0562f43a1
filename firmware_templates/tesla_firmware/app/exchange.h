/* One request's body and the body of its reply while a command is executed. */
#ifndef TESLA_EXCHANGE_H
#define TESLA_EXCHANGE_H

#include <stdint.h>

typedef struct {
    const uint8_t *body;
    uint16_t body_size;
    uint8_t *reply;      /* [TESLA_LINK_MAX_BODY] */
    uint16_t reply_size; /* bytes written so far */
} tesla_exchange_t;

/* Append to the reply; what does not fit whole is left out, never written beyond the buffer. */
void tesla_put_bytes(tesla_exchange_t *exchange, const void *bytes, uint32_t size);
void tesla_put_u8(tesla_exchange_t *exchange, uint8_t value);
void tesla_put_u16(tesla_exchange_t *exchange, uint16_t value);
void tesla_put_u32(tesla_exchange_t *exchange, uint32_t value);

/* Appends the four bytes of an IEEE 754 single. */
void tesla_put_float(tesla_exchange_t *exchange, float value);

/* Appends a length byte and the text, cut to `limit` bytes. */
void tesla_put_text(tesla_exchange_t *exchange, const char *text, uint8_t limit);

/* Appends one u32 for each of the board's counters. */
void tesla_put_ticks(tesla_exchange_t *exchange, const uint32_t *ticks);

#endif /* TESLA_EXCHANGE_H */
