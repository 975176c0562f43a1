/* The high-frequency clock of Nordic's nRF51 and nRF52: its registers are the same. */
#include "tesla_nrf.h"

#include "tesla_register.h"

#define CLOCK         0x40000000u
#define START_CRYSTAL (CLOCK + 0x000u)
#define STARTED       (CLOCK + 0x100u)
#define STATE         (CLOCK + 0x40Cu)
#define RUNNING       (1u << 16)

bool tesla_nrf_start_crystal(void) {
    TESLA_REGISTER(STARTED) = 0;
    TESLA_REGISTER(START_CRYSTAL) = 1;
    (void)tesla_wait(STARTED, 1u, 1u);
    return (TESLA_REGISTER(STATE) & RUNNING) != 0u;
}
