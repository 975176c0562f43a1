/* Clocks of a Stellaris LM3S6965 at 50 MHz: its PLL of 400 MHz from an 8 MHz crystal, and UART0.
 *
 * Facts: LM3S6965 data sheet, "System Control" and "GPIO". */
#include "tesla_clock.h"

#include "tesla_register.h"

#define SYSTEM            0x400FE000u
#define PLL_STATE         (SYSTEM + 0x050u)
#define CONFIGURATION     (SYSTEM + 0x060u)
#define UART_GATES        (SYSTEM + 0x104u)
#define PORT_GATES        (SYSTEM + 0x108u)
#define FLASH_MICROSECOND (SYSTEM + 0x140u) /* after a reset not 0 */
#define PORT_A            0x40004000u
#define PORT_FUNCTIONS    (PORT_A + 0x420u)
#define PORT_DIGITAL      (PORT_A + 0x51Cu)
#define PINS              3u /* PA0 receives, PA1 sends */
#define LOCKED            (1u << 6)
#define MAIN_OFF          (1u << 0)
#define SOURCE_MASK       (3u << 4) /* 0: the crystal */
#define CRYSTAL_MASK      (15u << 6)
#define CRYSTAL_8_MHZ     (14u << 6)
#define BYPASS            (1u << 11)
#define PLL_OFF           (1u << 13)
#define DIVIDE            (1u << 22)
#define DIVIDER_MASK      (15u << 23)
#define DIVIDER_4         (3u << 23)
#define PLL_HZ            50000000u
#define CRYSTAL_HZ        8000000u

static uint32_t hz = CRYSTAL_HZ;

/* The order is the data sheet's: around the PLL, then to it once it has locked. */
static bool start_pll(void) {
    tesla_change(CONFIGURATION, DIVIDE | MAIN_OFF, BYPASS);
    tesla_change(CONFIGURATION, CRYSTAL_MASK | SOURCE_MASK | PLL_OFF, CRYSTAL_8_MHZ);
    tesla_change(CONFIGURATION, DIVIDER_MASK, DIVIDER_4 | DIVIDE);
    if (!tesla_wait(PLL_STATE, LOCKED, LOCKED)) {
        tesla_change(CONFIGURATION, DIVIDE, 0);
        return false;
    }
    tesla_change(CONFIGURATION, BYPASS, 0);
    return true;
}

/* QEMU models the PLL, but nothing of the flash: its register reads 0. */
uint32_t tesla_clock_init(void) {
    if (start_pll()) {
        hz = PLL_HZ;
    }
    tesla_change(UART_GATES, 0, 1u);
    tesla_change(PORT_GATES, 0, 1u);
    (void)tesla_wait(PORT_GATES, 1u, 1u); /* a gate takes effect some clocks later */
    tesla_change(PORT_FUNCTIONS, 0, PINS);
    tesla_change(PORT_DIGITAL, 0, PINS);
    return TESLA_REGISTER(FLASH_MICROSECOND) != 0u ? hz : 0u;
}

uint32_t tesla_clock_uart_hz(void) {
    return hz;
}
