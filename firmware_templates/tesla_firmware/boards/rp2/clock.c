/* Clocks of RP2040 and RP2350 from the crystal and the system PLL, and the pins of UART0.
 *
 * Facts: RP2040 and RP2350 data sheets, "Clocks", "PLL", "XOSC", "Resets", "GPIO". The two chips
 * differ in addresses and in numbers of bits, which their rows give. The PLL's oscillator runs at
 * 125 times the crystal of 12 MHz. */
#include "tesla_clock.h"

#include "tesla_register.h"
#include "tesla_target.h"

#define CRYSTAL_CONTROL  (TESLA_TARGET_CRYSTAL + 0x00u)
#define CRYSTAL_STATUS   (TESLA_TARGET_CRYSTAL + 0x04u)
#define CRYSTAL_DELAY    (TESLA_TARGET_CRYSTAL + 0x0Cu)
#define CRYSTAL_ON       (0xFABu << 12 | 0xAA0u)
#define CRYSTAL_STABLE   (1u << 31)
#define MILLISECOND      47u /* in 256 clocks of the crystal */
#define REFERENCE        (TESLA_TARGET_CLOCKS + 0x30u)
#define REFERENCE_IS     (TESLA_TARGET_CLOCKS + 0x38u)
#define FROM_CRYSTAL     2u
#define SYSTEM           (TESLA_TARGET_CLOCKS + 0x3Cu)
#define SYSTEM_IS        (TESLA_TARGET_CLOCKS + 0x44u)
#define FROM_REFERENCE   0u
#define FROM_PLL         1u
#define PERIPHERAL       (TESLA_TARGET_CLOCKS + 0x48u)
#define FROM_SYSTEM      (1u << 11)
#define PLL_CONTROL      (TESLA_TARGET_PLL + 0x00u)
#define PLL_POWER        (TESLA_TARGET_PLL + 0x04u)
#define PLL_TIMES        (TESLA_TARGET_PLL + 0x08u)
#define PLL_DIVIDERS     (TESLA_TARGET_PLL + 0x0Cu)
#define PLL_LOCKED       (1u << 31)
#define PLL_OFF          (1u << 0)
#define OSCILLATOR_OFF   (1u << 5)
#define DIVIDERS_OFF     (1u << 3)
#define OSCILLATOR_TIMES 125u
#define RESETS           (TESLA_TARGET_RESETS + 0x0u)
#define RESETS_DONE      (TESLA_TARGET_RESETS + 0x8u)
#define PIN_FUNCTION(n)  (TESLA_TARGET_PINS + 0x04u + 8u * (n))
#define PIN_PAD(n)       (TESLA_TARGET_PADS + 0x04u + 4u * (n))
#define FUNCTION_UART    2u
#define PAD_OUTPUT       0x52u /* driven by 4 mA, input on, Schmitt trigger */
#define PAD_INPUT        0x5Au /* the same, pulled up */
#define TX               0u
#define RX               1u
#define CRYSTAL_HZ       12000000u

static uint32_t hz = TESLA_TARGET_RING_HZ;

static bool select_source(uintptr_t control, uintptr_t is, uint32_t source) {
    tesla_change(control, 3u, source);
    return tesla_wait(is, 1u << source, 1u << source);
}

static bool start_crystal(void) {
    TESLA_REGISTER(CRYSTAL_DELAY) = MILLISECOND;
    TESLA_REGISTER(CRYSTAL_CONTROL) = CRYSTAL_ON;
    return tesla_wait(CRYSTAL_STATUS, CRYSTAL_STABLE, CRYSTAL_STABLE) &&
           select_source(SYSTEM, SYSTEM_IS, FROM_REFERENCE) &&
           select_source(REFERENCE, REFERENCE_IS, FROM_CRYSTAL);
}

/* Takes the devices of these bits out of reset. */
static bool release(uint32_t bits) {
    tesla_change(RESETS, bits, 0);
    return tesla_wait(RESETS_DONE, bits, bits);
}

/* Only while the CPU does not run from it. */
static bool start_pll(void) {
    tesla_change(RESETS, 0, 1u << TESLA_TARGET_PLL_RESET);
    if (!release(1u << TESLA_TARGET_PLL_RESET)) {
        return false;
    }
    TESLA_REGISTER(PLL_CONTROL) = 1;
    TESLA_REGISTER(PLL_TIMES) = OSCILLATOR_TIMES;
    tesla_change(PLL_POWER, PLL_OFF | OSCILLATOR_OFF, 0);
    if (!tesla_wait(PLL_CONTROL, PLL_LOCKED, PLL_LOCKED)) {
        return false;
    }
    TESLA_REGISTER(PLL_DIVIDERS) = TESLA_TARGET_PLL_FIRST << 16 | TESLA_TARGET_PLL_SECOND << 12;
    tesla_change(PLL_POWER, DIVIDERS_OFF, 0);
    tesla_change(SYSTEM, 7u << 5, 0); /* the auxiliary source 0 is this PLL */
    return select_source(SYSTEM, SYSTEM_IS, FROM_PLL);
}

/* The UART's own clock is switched on again only after the system's has settled. */
uint32_t tesla_clock_init(void) {
    TESLA_REGISTER(PERIPHERAL) = 0;
    if (start_crystal()) {
        hz = start_pll() ? TESLA_TARGET_CLOCK_HZ : CRYSTAL_HZ;
    }
    TESLA_REGISTER(PERIPHERAL) = FROM_SYSTEM;
    const uint32_t devices = 1u << TESLA_TARGET_PINS_RESET | 1u << TESLA_TARGET_PADS_RESET |
                             1u << TESLA_TARGET_UART_RESET;
    const bool answers = release(devices);
    TESLA_REGISTER(PIN_PAD(TX)) = PAD_OUTPUT;
    TESLA_REGISTER(PIN_PAD(RX)) = PAD_INPUT;
    TESLA_REGISTER(PIN_FUNCTION(TX)) = FUNCTION_UART;
    TESLA_REGISTER(PIN_FUNCTION(RX)) = FUNCTION_UART;
    return answers ? hz : 0u;
}

uint32_t tesla_clock_uart_hz(void) {
    return hz;
}
