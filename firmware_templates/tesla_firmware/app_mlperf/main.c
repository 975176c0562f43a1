#include "mlperf_clock.h"
#include "mlperf_commands.h"
#include "tesla_app.h"
#include "tesla_board.h"

void tesla_app_main(void) {
    static tesla_mlperf_t state; /* too large for a small stack */
    tesla_board_init();
    tesla_mlperf_clock_start();
    tesla_mlperf_start(&state);
    for (;;) {
        const int byte = tesla_board_read_byte();
        if (byte >= 0) {
            tesla_mlperf_receive(&state, (uint8_t)byte);
        } else if (!tesla_board_idle()) {
            return;
        }
    }
}
