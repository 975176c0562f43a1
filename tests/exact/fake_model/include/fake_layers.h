#ifndef FAKE_LAYERS_H
#define FAKE_LAYERS_H

#include <stdint.h>

#ifndef FAKE_INPUT
#define FAKE_INPUT  1500
#define FAKE_OUTPUT 10
#endif

/* target[i] = source[i] + value, modulo 256 */
void fake_add(const int8_t *source, int8_t *target, uint32_t size, uint8_t value);

/* output[j] = sum of the source elements i with i % FAKE_OUTPUT == j, modulo 256 */
void fake_fold(const int8_t *source, uint32_t size, int8_t *output);

/* Fills one kilobyte of stack. */
void fake_use_stack(void);

#endif /* FAKE_LAYERS_H */
