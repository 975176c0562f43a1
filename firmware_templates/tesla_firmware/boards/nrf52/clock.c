/* The nRF52 at 64 MHz, with the cache of its flash. */
#include "tesla_clock.h"

#include "tesla_nrf.h"
#include "tesla_register.h"

#define FLASH_CACHE 0x4001E540u
#define CLOCK_HZ    64000000u

uint32_t tesla_clock_init(void) {
    TESLA_REGISTER(FLASH_CACHE) = 1;
    return tesla_nrf_start_crystal() ? CLOCK_HZ : 0u;
}

uint32_t tesla_clock_uart_hz(void) {
    return CLOCK_HZ;
}
