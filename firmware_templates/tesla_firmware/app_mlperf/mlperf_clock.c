#include "mlperf_clock.h"

#include "tesla_board.h"
#include "tesla_target.h"

#define MICROSECONDS 1000000u

static struct {
    uint8_t index;
    uint32_t hz; /* 0: nothing is known, one tick is given out as one microsecond */
    uint64_t start;
} timer;

static uint64_t ticks(void) {
    uint64_t now[TESLA_MAX_COUNTERS];
    tesla_board_read_counters(now);
    return now[timer.index];
}

void tesla_mlperf_clock_start(void) {
    timer.index = 0;
    (void)ticks(); /* some boards start their counters when these are first read */
    timer.hz = tesla_board.clock_hz != 0 ? tesla_board.clock_hz : TESLA_TARGET_CLOCK_HZ;
    for (uint8_t i = 0; i < tesla_board.counter_count; i++) {
        if (tesla_board.counters[i].hz != 0) {
            timer.index = i;
            timer.hz = tesla_board.counters[i].hz;
            break;
        }
    }
    timer.start = ticks();
}

uint64_t tesla_mlperf_clock_us(void) {
    const uint64_t elapsed = ticks() - timer.start;
    if (timer.hz == 0) {
        return elapsed;
    }
    /* In two parts, so that no product exceeds 64 bits. */
    return elapsed / timer.hz * MICROSECONDS + elapsed % timer.hz * MICROSECONDS / timer.hz;
}
