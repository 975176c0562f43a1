/* Frames of the serial link: COBS between 0x00 delimiters, closed by a CRC-32 (docs/protocol.md).
 *
 * The receiver trusts nothing: it decodes byte by byte into a buffer of fixed size, and a frame
 * that is too long, cut short or damaged disappears without a trace. */
#ifndef TESLA_LINK_H
#define TESLA_LINK_H

#include <stdbool.h>
#include <stdint.h>

#define TESLA_LINK_VERSION 2u

/* The longest body of a request or a reply, in bytes: at least 256, at most 65,000. */
#ifndef TESLA_LINK_MAX_BODY
#define TESLA_LINK_MAX_BODY 512u
#endif

#define TESLA_LINK_REQUEST_HEADER 4u /* version, sequence (2), command */
#define TESLA_LINK_REPLY_HEADER   5u /* version, sequence (2), command, status */
#define TESLA_LINK_CRC            4u
#define TESLA_LINK_REQUEST_MAX    (TESLA_LINK_REQUEST_HEADER + TESLA_LINK_MAX_BODY + TESLA_LINK_CRC)
#define TESLA_LINK_REPLY_MAX      (TESLA_LINK_REPLY_HEADER + TESLA_LINK_MAX_BODY + TESLA_LINK_CRC)

typedef struct {
    uint8_t payload[TESLA_LINK_REPLY_MAX]; /* a request, and perhaps its reply in its place */
    uint16_t size;     /* bytes decoded; without the CRC once a frame is complete */
    uint32_t running;  /* CRC of the bytes so far, not yet inverted; 0 before the first */
    uint32_t crc;      /* of the last complete frame */
    uint8_t remaining; /* literal bytes left in the COBS block */
    bool zero_due;     /* a zero stands between this COBS block and the next */
    bool broken;       /* skip to the next delimiter */
    bool complete;     /* the payload is whole: the next byte starts a new one */
} tesla_link_receiver_t;

/* Takes one received byte. True when it completes a sound frame: payload[0 .. size) then holds
 * header and body (size >= TESLA_LINK_REQUEST_HEADER) until the next call; the caller may write to
 * all of `payload`. A receiver starts out zeroed. */
bool tesla_link_receive(tesla_link_receiver_t *receiver, uint8_t byte);

/* Sends payload[0 .. size) as one frame. Writes the CRC behind it: the buffer has room for
 * size + TESLA_LINK_CRC bytes. */
void tesla_link_send(uint8_t *payload, uint16_t size);

/* CRC-32 as in zlib of bytes[0 .. size). */
uint32_t tesla_link_crc32(const void *bytes, uint32_t size);

/* Little-endian access at any alignment. */
uint16_t tesla_link_get_u16(const uint8_t *bytes);
uint32_t tesla_link_get_u32(const uint8_t *bytes);
void tesla_link_put_u16(uint8_t *bytes, uint16_t value);
void tesla_link_put_u32(uint8_t *bytes, uint32_t value);

#endif /* TESLA_LINK_H */
