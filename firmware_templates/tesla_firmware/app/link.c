#include "link.h"

#include "tesla_board.h"

#include <stddef.h>

#define COBS_BLOCK_MAX 254u

/* What the CRC of a payload and its own CRC behind it always comes to. */
#define CRC_RESIDUE 0xDEBB20E3u

/* CRC-32 as in zlib (reflected 0xEDB88320), four bits at a time: 64 bytes of table, not 1 KB. */
static uint32_t crc32_step(uint32_t crc, uint8_t byte) {
    static const uint32_t nibbles[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    crc ^= byte;
    crc = (crc >> 4) ^ nibbles[crc & 15u];
    return (crc >> 4) ^ nibbles[crc & 15u];
}

uint32_t tesla_link_crc32(const void *bytes, uint32_t size) {
    const uint8_t *from = bytes;
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < size; i++) {
        crc = crc32_step(crc, from[i]);
    }
    return ~crc;
}

uint16_t tesla_link_get_u16(const uint8_t *bytes) {
    return (uint16_t)(bytes[0] | ((uint32_t)bytes[1] << 8));
}

uint32_t tesla_link_get_u32(const uint8_t *bytes) {
    return tesla_link_get_u16(bytes) | ((uint32_t)tesla_link_get_u16(bytes + 2) << 16);
}

void tesla_link_put_u16(uint8_t *bytes, uint16_t value) {
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

void tesla_link_put_u32(uint8_t *bytes, uint32_t value) {
    tesla_link_put_u16(bytes, (uint16_t)value);
    tesla_link_put_u16(bytes + 2, (uint16_t)(value >> 16));
}

/* The CRC grows with every byte, so that the end of a frame is no long pause on a busy line. */
static void append(tesla_link_receiver_t *receiver, uint8_t byte) {
    if (receiver->size >= TESLA_LINK_REQUEST_MAX) {
        receiver->broken = true;
        return;
    }
    receiver->running = crc32_step(receiver->size == 0 ? 0xFFFFFFFFu : receiver->running, byte);
    receiver->payload[receiver->size] = byte;
    receiver->size++;
}

static void restart(tesla_link_receiver_t *receiver) {
    receiver->size = 0;
    receiver->remaining = 0;
    receiver->zero_due = false;
    receiver->broken = false;
    receiver->complete = false;
}

/* At a delimiter: is what was collected a frame? If so, takes the CRC off. */
static bool finish(tesla_link_receiver_t *receiver) {
    if (receiver->broken || receiver->remaining != 0 ||
        receiver->size < TESLA_LINK_REQUEST_HEADER + TESLA_LINK_CRC ||
        receiver->running != CRC_RESIDUE) {
        return false;
    }
    receiver->size = (uint16_t)(receiver->size - TESLA_LINK_CRC);
    receiver->crc = tesla_link_get_u32(receiver->payload + receiver->size);
    return true;
}

bool tesla_link_receive(tesla_link_receiver_t *receiver, uint8_t byte) {
    if (receiver->complete) {
        restart(receiver);
    }
    if (byte == 0) {
        if (finish(receiver)) {
            receiver->complete = true;
            return true;
        }
        restart(receiver);
    } else if (receiver->broken) {
        /* skipped until the next delimiter */
    } else if (receiver->remaining > 0) {
        append(receiver, byte);
        receiver->remaining--;
    } else {
        if (receiver->zero_due) {
            append(receiver, 0);
        }
        receiver->remaining = (uint8_t)(byte - 1);
        receiver->zero_due = byte != COBS_BLOCK_MAX + 1;
    }
    return false;
}

void tesla_link_send(uint8_t *payload, uint16_t size) {
    tesla_link_put_u32(payload + size, tesla_link_crc32(payload, size));
    const uint32_t end = (uint32_t)size + TESLA_LINK_CRC;
    uint32_t position = 0;
    tesla_board_write_byte(0);
    for (;;) {
        uint32_t block = 0;
        while (block < COBS_BLOCK_MAX && position + block < end && payload[position + block] != 0) {
            block++;
        }
        tesla_board_write_byte((uint8_t)(block + 1));
        for (uint32_t i = 0; i < block; i++) {
            tesla_board_write_byte(payload[position + i]);
        }
        position += block;
        if (position == end) {
            break;
        }
        if (block < COBS_BLOCK_MAX) {
            position++; /* the zero that ended the block is implied by it */
        }
    }
    tesla_board_write_byte(0);
}
