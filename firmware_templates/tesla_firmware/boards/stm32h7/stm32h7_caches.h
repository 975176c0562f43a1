/* The caches of a Cortex-M7. */
#ifndef TESLA_STM32H7_CACHES_H
#define TESLA_STM32H7_CACHES_H

/* Empties both caches and switches them on; those that are on stay as they are. Nothing but the
 * CPU writes memory here, so that nobody has to clean them. */
void tesla_stm32h7_start_caches(void);

#endif /* TESLA_STM32H7_CACHES_H */
