/* Inputs as SMLAD wants them: int16, the offset added, the four of a quad in the order 0, 2, 1, 3.
 */
#ifndef TESLA_WIDEN_H
#define TESLA_WIDEN_H

#include "tesla/dsp.h"
#include "tesla/string.h"

#include <stdint.h>

/* Four inputs from the bytes of `word`, the first in the lowest. `offset` stands in both halves. */
static inline void tesla_widen_quad(int16_t *wide, uint32_t word, uint32_t offset) {
#if TESLA_DSP
    uint32_t even;
    uint32_t odd;
    __asm__("sxtab16 %0, %1, %2" : "=r"(even) : "r"(offset), "r"(word));
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(odd) : "r"(offset), "r"(word));
    ((uint32_t *)(void *)wide)[0] = even;
    ((uint32_t *)(void *)wide)[1] = odd;
#else
    wide[0] = (int16_t)((int8_t)(uint8_t)word + (int16_t)(uint16_t)offset);
    wide[1] = (int16_t)((int8_t)(uint8_t)(word >> 16) + (int16_t)(uint16_t)offset);
    wide[2] = (int16_t)((int8_t)(uint8_t)(word >> 8) + (int16_t)(uint16_t)offset);
    wide[3] = (int16_t)((int8_t)(uint8_t)(word >> 24) + (int16_t)(uint16_t)offset);
#endif
}

/* `offset` in both halves of a word. */
static inline uint32_t tesla_twice(int16_t offset) {
    return (uint16_t)offset * 0x10001u;
}

/* Widens `count` inputs and fills the last quad up with zeros. */
static inline void tesla_widen(int16_t *wide, const int8_t *input, uint32_t count, int16_t offset) {
    const uint32_t both = tesla_twice(offset);
    uint32_t word = 0;
    for (uint32_t quad = count / 4u; quad != 0u; --quad) {
        tesla_copy(&word, input, 4);
        tesla_widen_quad(wide, word, both);
        input += 4;
        wide += 4;
    }
    for (uint32_t i = 0; i < 4u && count % 4u != 0u; ++i) {
        const uint32_t place = (i % 2u) * 2u + i / 2u;
        wide[place] = i < count % 4u ? (int16_t)(input[i] + offset) : (int16_t)0;
    }
}

#endif /* TESLA_WIDEN_H */
