/* The firmware's link under arbitrary input: the parser, sessions, every command.
 *
 * An input whose first byte is even reaches the receiver as it stands. Otherwise it is a list of
 * requests: a byte of flags, a byte of size (times 3), and the payload; they travel as sound
 * frames. */
#include "commands.h"
#include "fuzz.h"
#include "link.h"
#include "tesla_app.h"
#include "tesla_board.h"

#include <stdlib.h>
#include <string.h>

#define NEXT_NUMBER 1u /* flag: our version, and the number that the firmware waits for */
#define REPEATED    2u /* flag: the frame comes twice */
#define IN_SESSION  4u /* flag: HELLO of a session that is never another one */

#define AT_THE_END 8u  /* flag: an offset just before the end of the input */
#define TRUE_CRC   16u /* flag: INFER of the input as it is */

static struct {
    uint8_t bytes[4 * TESLA_LINK_REPLY_MAX];
    size_t size;
} sent;
void tesla_board_write_byte(uint8_t byte) {
    if (sent.size >= sizeof sent.bytes) {
        abort(); /* longer than any frame may be */
    }
    sent.bytes[sent.size++] = byte;
}

/* Hands one byte to the firmware; checks and keeps in `sent` what it answers. */
static void receive(tesla_link_receiver_t *receiver, tesla_commands_t *state, uint8_t byte) {
    if (!tesla_link_receive(receiver, byte)) {
        return;
    }
    fuzz_expect(receiver->size >= TESLA_LINK_REQUEST_HEADER, "a frame has its header");
    const uint8_t command = receiver->payload[3];
    const uint8_t number[2] = {receiver->payload[1], receiver->payload[2]};
    const tesla_answer_t answer =
        tesla_commands_handle(state, receiver->payload, receiver->size, receiver->crc);
    sent.size = 0;
    if (answer.size == 0) {
        fuzz_expect(command == TESLA_COMMAND_FEED, "only FEED stays without an answer");
        return;
    }
    fuzz_expect(answer.size >= TESLA_LINK_REPLY_HEADER, "a reply has its header");
    fuzz_expect(answer.size <= TESLA_LINK_REPLY_HEADER + TESLA_LINK_MAX_BODY, "a reply fits");
    fuzz_expect(answer.payload[0] == TESLA_LINK_VERSION && answer.payload[1] == number[0] &&
                    answer.payload[2] == number[1] &&
                    answer.payload[3] == (uint8_t)(command | TESLA_COMMAND_REPLY),
                "a reply names what it answers");
    fuzz_expect(answer.payload[4] == 0 || answer.size == TESLA_LINK_REPLY_HEADER,
                "an error has no body");
    tesla_link_send(answer.payload, answer.size);
}

static void deliver(tesla_link_receiver_t *receiver, tesla_commands_t *state, const uint8_t *frame,
                    size_t size) {
    for (size_t i = 0; i < size; i++) {
        receive(receiver, state, frame[i]);
    }
}

/* Sends payload[0 .. size) as a sound frame, perhaps twice. */
static void request(tesla_link_receiver_t *receiver, tesla_commands_t *state, uint8_t *payload,
                    uint16_t size, bool twice) {
    static uint8_t frame[sizeof sent.bytes];
    static uint8_t first[sizeof sent.bytes];
    sent.size = 0;
    tesla_link_send(payload, size);
    const size_t frame_size = sent.size;
    memcpy(frame, sent.bytes, frame_size);
    sent.size = 0;
    deliver(receiver, state, frame, frame_size);
    if (!twice) {
        return;
    }
    const size_t first_size = sent.size;
    const uint64_t reads_before = fuzz_counter_reads;
    memcpy(first, sent.bytes, first_size);
    sent.size = 0;
    deliver(receiver, state, frame, frame_size);
    fuzz_expect(sent.size == first_size && memcmp(first, sent.bytes, first_size) == 0,
                "a repeated request gets the same reply");
    fuzz_expect(fuzz_counter_reads == reads_before, "a repeated request is not executed");
}

/* What chance would hardly hit on; returns the payload's new size. */
static uint16_t steer(uint8_t *payload, uint16_t size, uint8_t flags, uint16_t number) {
    if ((flags & IN_SESSION) != 0) {
        payload[3] = TESLA_COMMAND_HELLO;
        payload[4] = 0;
        tesla_link_put_u32(payload + 5, 1);
        size = TESLA_LINK_REQUEST_HEADER + 5u;
    } else if ((flags & TRUE_CRC) != 0) {
        payload[3] = TESLA_COMMAND_INFER;
        tesla_link_put_u32(payload + 4,
                           tesla_link_crc32(tesla_app_input, tesla_app_model.input_bytes));
        tesla_link_put_u32(payload + 8, tesla_app_model.input_bytes);
        size = TESLA_LINK_REQUEST_HEADER + 8u;
    } else if ((flags & AT_THE_END) != 0) {
        uint8_t *offset = payload + (payload[3] == TESLA_COMMAND_INFER ? 8 : 4);
        tesla_link_put_u32(offset, tesla_app_model.input_bytes - offset[0] % 32u);
    }
    if ((flags & NEXT_NUMBER) != 0) {
        payload[0] = TESLA_LINK_VERSION;
        tesla_link_put_u16(payload + 1, number);
    }
    return size;
}

static size_t take_request(tesla_link_receiver_t *receiver, tesla_commands_t *state,
                           const uint8_t *data, size_t size) {
    static uint8_t payload[3 * 255 + 32];
    const uint8_t flags = data[0];
    size_t count = data[1] * 3u;
    count = count < size - 2 ? count : size - 2;
    memset(payload, 0, TESLA_LINK_REQUEST_HEADER + 8u);
    memcpy(payload, data + 2, count);
    const uint16_t length = (uint16_t)(count < TESLA_LINK_REQUEST_HEADER ? 4u : count);
    request(receiver, state, payload, steer(payload, length, flags, (uint16_t)(state->last + 1u)),
            (flags & REPEATED) != 0);
    return 2 + count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tesla_link_receiver_t receiver;
    static tesla_commands_t state;
    memset(&receiver, 0, sizeof receiver);
    memset(&state, 0, sizeof state);
    memset(tesla_app_input, 0, tesla_app_model.input_bytes);
    tesla_commands_start(&state);
    if (size == 0) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        deliver(&receiver, &state, data + 1, size - 1);
        return 0;
    }
    for (size_t i = 1; i + 2 <= size;) {
        i += take_request(&receiver, &state, data + i, size - i);
    }
    return 0;
}
