#include "fake_layers.h"

void fake_add(const int8_t *source, int8_t *target, uint32_t size, uint8_t value) {
    for (uint32_t i = 0; i < size; i++) {
        target[i] = (int8_t)(uint8_t)((uint8_t)source[i] + value);
    }
}

void fake_fold(const int8_t *source, uint32_t size, int8_t *output) {
    for (uint32_t j = 0; j < FAKE_OUTPUT; j++) {
        uint8_t sum = 0;
        for (uint32_t i = j; i < size; i += FAKE_OUTPUT) {
            sum = (uint8_t)(sum + (uint8_t)source[i]);
        }
        output[j] = (int8_t)sum;
    }
}

void fake_use_stack(void) {
    volatile uint8_t block[1024];
    for (uint32_t i = 0; i < sizeof block; i++) {
        block[i] = (uint8_t)i;
    }
}
