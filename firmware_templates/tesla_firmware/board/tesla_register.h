/* Registers of devices: access by address, and waits that end. */
#ifndef TESLA_REGISTER_H
#define TESLA_REGISTER_H

#include <stdbool.h>
#include <stdint.h>

#define TESLA_REGISTER(address) (*(volatile uint32_t *)(address))

/* Looks before a wait is given up. With five cycles a look, which is little for a load from a
 * device, a test, a count and a branch, they take 15 ms at 64 MHz, the fastest clock that one of
 * our chips starts with, and 62 ms at 16 MHz; the slowest crystal takes 10 ms. Five cycles are
 * an assumption: nobody has measured them. */
#define TESLA_WAIT_LOOKS 200000u

/* Waits until `mask` of the register reads `value`; false when it does not come. */
static inline bool tesla_wait(uintptr_t address, uint32_t mask, uint32_t value) {
    for (uint32_t i = 0; i < TESLA_WAIT_LOOKS; i++) {
        if ((TESLA_REGISTER(address) & mask) == value) {
            return true;
        }
    }
    return false;
}

/* Replaces the bits `mask` of the register by `value`. */
static inline void tesla_change(uintptr_t address, uint32_t mask, uint32_t value) {
    TESLA_REGISTER(address) = (TESLA_REGISTER(address) & ~mask) | value;
}

/* Lets a Cortex-M take interrupt `number` of a device. */
static inline void tesla_enable_interrupt(uint32_t number) {
    TESLA_REGISTER(0xE000E100u + 4u * (number / 32u)) = 1u << (number % 32u);
}

#ifdef __arm__
/* Has a Cortex-M take no interrupt; returns what tesla_restore_interrupts takes. */
static inline uint32_t tesla_mask_interrupts(void) {
    uint32_t before;
    __asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(before)::"memory");
    return before;
}

static inline void tesla_restore_interrupts(uint32_t before) {
    __asm__ volatile("msr primask, %0\n\tisb" ::"r"(before) : "memory");
}
#endif

#endif /* TESLA_REGISTER_H */
