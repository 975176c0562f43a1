/* What chips of Nordic's share. */
#ifndef TESLA_NRF_H
#define TESLA_NRF_H

#include <stdbool.h>

/* Starts the crystal of the high-frequency clock. Without it the internal oscillator goes on, at
 * the same nominal clock. False where the clock control answers nothing. */
bool tesla_nrf_start_crystal(void);

#endif /* TESLA_NRF_H */
