#include "commands.h"
#include "link.h"
#include "tesla_app.h"
#include "tesla_board.h"

void tesla_app_main(void) {
    static tesla_link_receiver_t receiver; /* the link has one user, and a kilobyte is no guest */
    static tesla_commands_t state;         /* for a small stack */
    tesla_board_init();
    tesla_commands_start(&state);
    for (;;) {
        const int byte = tesla_board_read_byte();
        if (byte < 0) {
            if (!tesla_board_idle()) {
                return;
            }
        } else if (tesla_link_receive(&receiver, (uint8_t)byte)) {
            const tesla_answer_t answer =
                tesla_commands_handle(&state, receiver.payload, receiver.size, receiver.crc);
            if (answer.size != 0) {
                tesla_link_send(answer.payload, answer.size);
            }
        }
    }
}
