/* Ticks of a timer to instructions, where an emulator gives every instruction the same time.
 *
 * Between two readings lie whole instructions, each of several ticks, or one: rounding what passed
 * to the nearest number of them is exact, and nothing adds up. */
#ifndef TESLA_TICKS_H
#define TESLA_TICKS_H

#include "tesla_target.h"

#include <stdint.h>

#ifdef TESLA_TARGET_INSTRUCTIONS_OF_TICKS
#define TESLA_INSTRUCTIONS_OF TESLA_TARGET_INSTRUCTIONS_OF_TICKS
#define TESLA_TICKS_OF        TESLA_TARGET_TICKS_OF_INSTRUCTIONS
#else /* nothing emulates the board: its ticks are counted as they are */
#define TESLA_INSTRUCTIONS_OF 1u
#define TESLA_TICKS_OF        1u
#endif

/* What is to be divided by TESLA_TICKS_OF, rounding down. */
static inline uint64_t tesla_ticks_dividend(uint64_t passed) {
    return passed * TESLA_INSTRUCTIONS_OF + TESLA_TICKS_OF / 2u;
}

static inline uint64_t tesla_ticks_instructions(uint64_t passed) {
    return tesla_ticks_dividend(passed) / TESLA_TICKS_OF;
}

#endif /* TESLA_TICKS_H */
