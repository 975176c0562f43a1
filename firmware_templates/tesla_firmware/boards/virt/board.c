/* QEMU's RISC-V machine `virt`: its interrupt controller, so that the core may sleep.
 *
 * All its memory can be written. A range of the core's memory protection makes what stands for
 * flash read-only, so that a stack that overflows, and wild pointers, trap. */
#include "tesla_board.h"
#include "tesla_target.h"
#include "tesla_uart.h"

#define PLIC(offset)       (*(volatile uint32_t *)(TESLA_TARGET_PLIC + (offset)))
#define PRIORITY           (4u * TESLA_TARGET_UART_INTERRUPT)
#define ENABLE             (0x2000u + 4u * (TESLA_TARGET_UART_INTERRUPT / 32u))
#define ENABLE_BIT         (1u << (TESLA_TARGET_UART_INTERRUPT % 32u))
#define THRESHOLD          0x200000u
#define CLAIM              0x200004u  /* reading it claims an interrupt, writing completes it */
#define EXTERNAL_INTERRUPT (1u << 11) /* of mie, in machine mode */
#define LOCKED_READ_RUN    0x8D00u    /* second range: locked, from the first address to its own */

static void protect_flash(void) {
    const uint32_t end = TESLA_TARGET_FLASH + TESLA_TARGET_FLASH_BYTES;
    __asm__ volatile("csrw pmpaddr0, %0" ::"r"(TESLA_TARGET_FLASH >> 2));
    __asm__ volatile("csrw pmpaddr1, %0" ::"r"(end >> 2));
    __asm__ volatile("csrw pmpcfg0, %0" ::"r"(LOCKED_READ_RUN) : "memory");
}

/* The interrupt is never taken: it only ends the wait in tesla_board_idle. */
void tesla_board_init(void) {
    protect_flash();
    tesla_uart_init();
    PLIC(PRIORITY) = 1;
    PLIC(ENABLE) = ENABLE_BIT;
    PLIC(THRESHOLD) = 0;
    __asm__ volatile("csrs mie, %0" ::"r"(EXTERNAL_INTERRUPT));
}

/* The interrupt is raised for as long as a byte waits. Claiming it takes it off the list of pending
 * ones, and completing it lets it come again: a controller may keep it there until then. */
bool tesla_board_idle(void) {
    __asm__ volatile("wfi" ::: "memory");
    PLIC(CLAIM) = PLIC(CLAIM);
    return true;
}
