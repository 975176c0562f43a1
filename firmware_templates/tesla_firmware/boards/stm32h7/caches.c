/* Facts: Armv7-M Architecture Reference Manual, "Cache and branch predictor maintenance". */
#include "stm32h7_caches.h"

#include "tesla_register.h"

#define CONFIGURATION       0xE000ED14u
#define DATA_CACHE          (1u << 16)
#define INSTRUCTION_CACHE   (1u << 17)
#define CACHE_SIZE          0xE000ED80u
#define CACHE_SELECT        0xE000ED84u
#define FORGET_INSTRUCTIONS 0xE000EF50u
#define FORGET_DATA_SET_WAY 0xE000EF60u
#define SET_SHIFT           5  /* lines of 32 bytes */
#define WAY_SHIFT           30 /* four ways */

static void barrier(void) {
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

static void start_instructions(void) {
    TESLA_REGISTER(FORGET_INSTRUCTIONS) = 0;
    barrier();
    tesla_change(CONFIGURATION, 0, INSTRUCTION_CACHE);
    barrier();
}

static void start_data(void) {
    TESLA_REGISTER(CACHE_SELECT) = 0;
    barrier();
    const uint32_t size = TESLA_REGISTER(CACHE_SIZE);
    const uint32_t sets = ((size >> 13) & 0x7FFFu) + 1u;
    const uint32_t ways = ((size >> 3) & 0x3FFu) + 1u;
    for (uint32_t set = 0; set < sets; set++) {
        for (uint32_t way = 0; way < ways; way++) {
            TESLA_REGISTER(FORGET_DATA_SET_WAY) = set << SET_SHIFT | way << WAY_SHIFT;
        }
    }
    barrier();
    tesla_change(CONFIGURATION, 0, DATA_CACHE);
    barrier();
}

void tesla_stm32h7_start_caches(void) {
    const uint32_t on = TESLA_REGISTER(CONFIGURATION);
    barrier();
    if ((on & INSTRUCTION_CACHE) == 0u) {
        start_instructions();
    }
    if ((on & DATA_CACHE) == 0u) {
        start_data();
    }
}
