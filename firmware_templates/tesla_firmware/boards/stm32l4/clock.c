/* Clocks of an STM32L4+ at 120 MHz from its internal clock of 16 MHz, and LPUART1.
 *
 * Facts: ST RM0432. Above 80 MHz the regulator is boosted, and the step from a slow clock is made
 * with the bus at half speed. Flash: five wait states. Pins 2 to 15 of port G have a supply of
 * their own, which has to be let in. */
#include "tesla_clock.h"

#include "tesla_register.h"
#include "tesla_stm32.h"
#include "tesla_target.h"

#define RCC           0x40021000u
#define CONTROL       (RCC + 0x00u)
#define CONFIGURATION (RCC + 0x08u)
#define PLL           (RCC + 0x0Cu)
#define PORT_GATES    (RCC + 0x4Cu)
#define APB1_GATES    (RCC + 0x58u)
#define APB1_GATES_2  (RCC + 0x5Cu)
#define LPUART_GATE   1u
#define POWER_GATE    (1u << 28)
#define MSI_READY     (1u << 1)
#define HSI_ON        (1u << 8)
#define HSI_READY     (1u << 10)
#define PLL_ON        (1u << 24)
#define PLL_READY     (1u << 25)
#define PLL_SETTING   (1u << 24 | 30u << 8 | 1u << 4 | 2u) /* 16 MHz / 2 * 30 / 2 */
#define SELECT_PLL    3u
#define HALF          (8u << 4)
#define SELECTED_MASK (3u << 2)
#define SELECTED_PLL  (3u << 2)
#define PORT_SUPPLY   0x40007004u
#define PORT_G_SUPPLY (1u << 9)
#define REGULATOR     0x40007080u
#define NOT_BOOSTED   (1u << 8)
#define FLASH_ACCESS  0x40022000u
#define FLASH_FAST    (7u << 8 | 5u) /* prefetch, both caches, five wait states */
#define FLASH_MASK    0xFu
#define MICROSECOND   120u
#define MSI_HZ        4000000u
#define PLL_HZ        120000000u

static uint32_t hz = MSI_HZ;

static bool start_pll(void) {
    tesla_change(CONTROL, 0, HSI_ON);
    if (!tesla_wait(CONTROL, HSI_READY, HSI_READY)) {
        return false;
    }
    TESLA_REGISTER(PLL) = PLL_SETTING;
    tesla_change(CONTROL, 0, PLL_ON);
    tesla_change(REGULATOR, NOT_BOOSTED, 0);
    tesla_change(FLASH_ACCESS, FLASH_MASK, FLASH_FAST);
    if (!tesla_wait(CONTROL, PLL_READY, PLL_READY) ||
        !tesla_wait(FLASH_ACCESS, FLASH_MASK, FLASH_FAST & FLASH_MASK)) {
        return false;
    }
    TESLA_REGISTER(CONFIGURATION) = HALF | SELECT_PLL;
    if (!tesla_wait(CONFIGURATION, SELECTED_MASK, SELECTED_PLL)) {
        return false;
    }
    for (volatile uint32_t i = 0; i < MICROSECOND; i++) {
    }
    TESLA_REGISTER(CONFIGURATION) = SELECT_PLL;
    return true;
}

uint32_t tesla_clock_init(void) {
    tesla_change(APB1_GATES, 0, POWER_GATE);
    (void)tesla_wait(APB1_GATES, POWER_GATE, POWER_GATE);
    if (start_pll()) {
        hz = PLL_HZ;
    } else {
        TESLA_REGISTER(CONFIGURATION) = 0;
    }
    tesla_change(PORT_SUPPLY, 0, PORT_G_SUPPLY);
    tesla_change(PORT_GATES, 0, 1u << TESLA_TARGET_PORT_GATE);
    tesla_change(APB1_GATES_2, 0, LPUART_GATE);
    tesla_stm32_pins();
    return (TESLA_REGISTER(CONTROL) & (MSI_READY | HSI_READY)) != 0u ? hz : 0u;
}

uint32_t tesla_clock_uart_hz(void) {
    return hz;
}
