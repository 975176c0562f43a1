/* Clocks of an STM32H743 at 400 MHz: PLL1 from the external clock, else from the internal one.
 *
 * Facts: ST RM0433. Voltage scale 1, buses at 200 MHz, their peripherals at 100 MHz; flash: two
 * wait states at 200 MHz. The supply is the chip's own regulator (LDO), as on the Nucleo. */
#include "tesla_clock.h"

#include "stm32h7_caches.h"
#include "tesla_register.h"
#include "tesla_stm32.h"
#include "tesla_target.h"

#define RCC             0x58024400u
#define CONTROL         (RCC + 0x00u)
#define CONFIGURATION   (RCC + 0x10u)
#define CPU_DIVIDERS    (RCC + 0x18u)
#define APB12_DIVIDERS  (RCC + 0x1Cu)
#define APB4_DIVIDER    (RCC + 0x20u)
#define PLL_SOURCE      (RCC + 0x28u)
#define PLL_OPTIONS     (RCC + 0x2Cu)
#define PLL_FACTORS     (RCC + 0x30u)
#define PORT_GATES      (RCC + 0xE0u)
#define APB1_GATES      (RCC + 0xE8u)
#define HSI_READY       (1u << 2)
#define HSE_ON          (1u << 16)
#define HSE_READY       (1u << 17)
#define HSE_BYPASS      (1u << 18)
#define PLL_ON          (1u << 24)
#define PLL_READY       (1u << 25)
#define SOURCE_MASK     (63u << 4 | 3u)
#define SOURCE_HSE      2u
#define INPUT_HZ        2000000u
#define OPTIONS_MASK    (7u << 16 | 15u)
#define OPTIONS         (1u << 16 | 1u << 2) /* output P; an input of 2 to 4 MHz; wide range */
#define FACTORS         (1u << 24 | 1u << 16 | 1u << 9 | (400u - 1u)) /* 2 MHz * 400 / 2 */
#define BUSES           (8u | 4u << 4) /* the bus a half of the CPU, APB3 a half of the bus */
#define HALVES          (4u << 4 | 4u << 8)
#define HALF            (4u << 4)
#define SELECT_PLL      3u
#define SELECTED_MASK   (7u << 3)
#define SELECTED_PLL    (3u << 3)
#define POWER           0x58024800u
#define POWER_STATUS    (POWER + 0x04u)
#define SUPPLY          (POWER + 0x0Cu)
#define SUPPLY_MASK     7u
#define SUPPLY_LDO      2u /* writing it once settles it */
#define VOLTAGE         (POWER + 0x18u)
#define VOLTAGE_SCALE_1 (3u << 14)
#define VOLTAGE_READY   (1u << 13)
#define FLASH_ACCESS    0x52002000u
#define FLASH_MASK      0x3Fu
#define FLASH_FAST      (2u << 4 | 2u)
#define HSI_HZ          64000000u
#define PLL_HZ          400000000u
#define UART_HZ         100000000u

static uint32_t uart_hz = HSI_HZ;

static bool start_external(void) {
    tesla_change(CONTROL, 0, HSE_ON | (TESLA_TARGET_HSE_BYPASS ? HSE_BYPASS : 0u));
    return tesla_wait(CONTROL, HSE_READY, HSE_READY);
}

static bool raise_voltage(void) {
    tesla_change(SUPPLY, SUPPLY_MASK, SUPPLY_LDO);
    if (!tesla_wait(POWER_STATUS, VOLTAGE_READY, VOLTAGE_READY)) {
        return false;
    }
    tesla_change(VOLTAGE, VOLTAGE_SCALE_1, VOLTAGE_SCALE_1);
    return tesla_wait(VOLTAGE, VOLTAGE_READY, VOLTAGE_READY);
}

static bool start_pll(bool external) {
    const uint32_t divider = (external ? TESLA_TARGET_HSE_HZ : HSI_HZ) / INPUT_HZ;
    tesla_change(PLL_SOURCE, SOURCE_MASK, divider << 4 | (external ? SOURCE_HSE : 0u));
    tesla_change(PLL_OPTIONS, OPTIONS_MASK, OPTIONS);
    TESLA_REGISTER(PLL_FACTORS) = FACTORS;
    tesla_change(CONTROL, 0, PLL_ON);
    tesla_change(FLASH_ACCESS, FLASH_MASK, FLASH_FAST);
    if (!tesla_wait(CONTROL, PLL_READY, PLL_READY) ||
        !tesla_wait(FLASH_ACCESS, FLASH_MASK, FLASH_FAST)) {
        return false;
    }
    TESLA_REGISTER(CPU_DIVIDERS) = BUSES;
    TESLA_REGISTER(APB12_DIVIDERS) = HALVES;
    TESLA_REGISTER(APB4_DIVIDER) = HALF;
    tesla_change(CONFIGURATION, 7u, SELECT_PLL);
    return tesla_wait(CONFIGURATION, SELECTED_MASK, SELECTED_PLL);
}

static void stay_internal(void) {
    tesla_change(CONFIGURATION, 7u, 0);
    TESLA_REGISTER(CPU_DIVIDERS) = 0;
    TESLA_REGISTER(APB12_DIVIDERS) = 0;
    TESLA_REGISTER(APB4_DIVIDER) = 0;
}

uint32_t tesla_clock_init(void) {
    uint32_t cpu_hz = HSI_HZ;
    tesla_stm32h7_start_caches();
    if (raise_voltage() && start_pll(start_external())) {
        cpu_hz = PLL_HZ;
        uart_hz = UART_HZ;
    } else {
        stay_internal();
    }
    tesla_change(PORT_GATES, 0, 1u << TESLA_TARGET_PORT_GATE);
    tesla_change(APB1_GATES, 0, 1u << TESLA_TARGET_UART_GATE);
    tesla_stm32_pins();
    return (TESLA_REGISTER(CONTROL) & HSI_READY) != 0u ? cpu_hz : 0u;
}

uint32_t tesla_clock_uart_hz(void) {
    return uart_hz;
}
