/* Clocks of an STM32F100 at 24 MHz, and USART1 on PA9 and PA10.
 *
 * Facts: ST RM0041. The flash of the F100 takes no wait states. */
#include "tesla_clock.h"

#include "tesla_register.h"
#include "tesla_target.h"

#define RCC           0x40021000u
#define CONTROL       (RCC + 0x00u)
#define CONFIGURATION (RCC + 0x04u)
#define APB2_GATES    (RCC + 0x18u)
#define GATES         (1u << 14 | 1u << 2) /* USART1, port A */
#define HSI_READY     (1u << 1)
#define HSE_ON        (1u << 16)
#define HSE_READY     (1u << 17)
#define PLL_ON        (1u << 24)
#define PLL_READY     (1u << 25)
#define PLL_FROM_HSE  (1u << 16)
#define PLL_TIMES(n)  (((n) - 2u) << 18)
#define SELECT_PLL    2u
#define SELECTED_MASK (3u << 2)
#define SELECTED_PLL  (2u << 2)
#define PORT_A_HIGH   0x40010804u /* four bits a pin, from pin 8 on */
#define PINS_MASK     (0xFFu << 4)
#define PINS          (0xBu << 4 | 0x8u << 8) /* PA9: alternate output; PA10: input with a pull */
#define PORT_A_SET    0x40010810u
#define PULL_UP       (1u << 10)
#define HSI_HZ        8000000u
#define PLL_HZ        24000000u

static uint32_t hz = HSI_HZ;

static bool start_external(void) {
    tesla_change(CONTROL, 0, HSE_ON);
    return tesla_wait(CONTROL, HSE_READY, HSE_READY);
}

/* From the internal clock the PLL gets a half. */
static bool start_pll(bool external) {
    const uint32_t source_hz = external ? TESLA_TARGET_HSE_HZ : HSI_HZ / 2u;
    const uint32_t setting = PLL_TIMES(PLL_HZ / source_hz) | (external ? PLL_FROM_HSE : 0u);
    TESLA_REGISTER(CONFIGURATION) = setting;
    tesla_change(CONTROL, 0, PLL_ON);
    if (!tesla_wait(CONTROL, PLL_READY, PLL_READY)) {
        return false;
    }
    TESLA_REGISTER(CONFIGURATION) = setting | SELECT_PLL;
    return tesla_wait(CONFIGURATION, SELECTED_MASK, SELECTED_PLL);
}

uint32_t tesla_clock_init(void) {
    if (start_pll(start_external())) {
        hz = PLL_HZ;
    } else {
        TESLA_REGISTER(CONFIGURATION) = 0;
    }
    tesla_change(APB2_GATES, 0, GATES);
    tesla_change(PORT_A_HIGH, PINS_MASK, PINS);
    TESLA_REGISTER(PORT_A_SET) = PULL_UP;
    return (TESLA_REGISTER(CONTROL) & HSI_READY) != 0u ? hz : 0u;
}

uint32_t tesla_clock_uart_hz(void) {
    return hz;
}
