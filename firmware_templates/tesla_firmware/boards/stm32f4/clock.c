/* Clocks of an STM32F4 at 168 MHz: the PLL from the external clock, else from the internal one.
 *
 * Facts: ST RM0090 and RM0390, reset and clock control; flash: five wait states up to 168 MHz. */
#include "tesla_clock.h"

#include "tesla_register.h"
#include "tesla_stm32.h"
#include "tesla_target.h"

#define RCC           0x40023800u
#define CONTROL       (RCC + 0x00u)
#define PLL           (RCC + 0x04u)
#define CONFIGURATION (RCC + 0x08u)
#define PORT_GATES    (RCC + 0x30u)
#define APB1_GATES    (RCC + 0x40u)
#define HSI_READY     (1u << 1)
#define HSE_ON        (1u << 16)
#define HSE_READY     (1u << 17)
#define HSE_BYPASS    (1u << 18)
#define PLL_ON        (1u << 24)
#define PLL_READY     (1u << 25)
#define PLL_FROM_HSE  (1u << 22)
#define PLL_TIMES     (336u << 6) /* 1 MHz to 336 MHz; divided by two */
#define PLL_USB       (7u << 24)  /* 48 MHz */
#define PLL_MASK      0x0F437FFFu
#define SELECT_PLL    (5u << 10 | 4u << 13 | 2u) /* APB1 a quarter, APB2 a half */
#define SELECTED_MASK (3u << 2)
#define SELECTED_PLL  (2u << 2)
#define FLASH_ACCESS  0x40023C00u
#define FLASH_FAST    (7u << 8 | 5u) /* prefetch, both caches, five wait states */
#define HSI_HZ        16000000u
#define PLL_HZ        168000000u
#define ON_APB2       (TESLA_TARGET_UART >= 0x40010000u)
#define UART_SHARE    (ON_APB2 ? 2u : 4u)

static uint32_t uart_hz = HSI_HZ;

static bool start_external(void) {
    tesla_change(CONTROL, 0, HSE_ON | (TESLA_TARGET_HSE_BYPASS ? HSE_BYPASS : 0u));
    return tesla_wait(CONTROL, HSE_READY, HSE_READY);
}

static bool start_pll(bool external) {
    const uint32_t megahertz = (external ? TESLA_TARGET_HSE_HZ : HSI_HZ) / 1000000u;
    tesla_change(PLL, PLL_MASK, PLL_USB | PLL_TIMES | megahertz | (external ? PLL_FROM_HSE : 0u));
    tesla_change(CONTROL, 0, PLL_ON);
    if (!tesla_wait(CONTROL, PLL_READY, PLL_READY)) {
        return false;
    }
    TESLA_REGISTER(FLASH_ACCESS) = FLASH_FAST;
    if (!tesla_wait(FLASH_ACCESS, FLASH_FAST, FLASH_FAST)) {
        return false;
    }
    TESLA_REGISTER(CONFIGURATION) = SELECT_PLL;
    return tesla_wait(CONFIGURATION, SELECTED_MASK, SELECTED_PLL);
}

uint32_t tesla_clock_init(void) {
    uint32_t cpu_hz = HSI_HZ;
    if (start_pll(start_external())) {
        cpu_hz = PLL_HZ;
        uart_hz = PLL_HZ / UART_SHARE;
    } else {
        TESLA_REGISTER(CONFIGURATION) = 0;
    }
    tesla_change(PORT_GATES, 0, 1u << TESLA_TARGET_PORT_GATE);
    tesla_change(APB1_GATES + (ON_APB2 ? 4u : 0u), 0, 1u << TESLA_TARGET_UART_GATE);
    tesla_stm32_pins();
    return (TESLA_REGISTER(CONTROL) & HSI_READY) != 0u ? cpu_hz : 0u;
}

uint32_t tesla_clock_uart_hz(void) {
    return uart_hz;
}
