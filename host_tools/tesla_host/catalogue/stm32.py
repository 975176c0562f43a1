"""Rows of ST's boards: pins, clocks and addresses from the chips' reference manuals.

`HSE_HZ` is the board's crystal, or with `HSE_BYPASS` the clock that its ST-LINK feeds in. A UART is
switched on by bit `UART_GATE` of its bus, its pins by bit `PORT_GATE`; `FUNCTION` is the number of
the pins' alternate function. The divider of a newer UART counts `UART_DIVIDER_STEPS` of a clock.
"""

from tesla_host.catalogue.cores import CORTEX_M3, CORTEX_M4, CORTEX_M7
from tesla_host.catalogue.rows import Memory, Qemu, Target

_COMMON = ("cortex_m", "chip", "cortex_m_counter")
_F4 = (*_COMMON, "stm32_usart", "stm32_gpio", "stm32f4")
_TOOLCHAINS = ("zig", "gcc", "clang")
_FLASH = 0x0800_0000
_RAM = 0x2000_0000

STM32 = (
    Target(
        name="netduinoplus2",
        description="STM32F405RG; UART on D0 and D1 (USART6, PC7 and PC6)",
        core=CORTEX_M4,
        sources=_F4,
        toolchains=_TOOLCHAINS,
        clock_hz=168_000_000,
        flash=Memory(origin=_FLASH, bytes=1 << 20),
        ram=Memory(origin=_RAM, bytes=128 << 10),
        stack_bytes=8 << 10,
        receive_bytes=4 << 10,
        constants=(
            ("HSE_HZ", 25_000_000),
            ("HSE_BYPASS", 0),
            ("UART", 0x4001_1400),
            ("UART_GATE", 5),
            ("UART_INTERRUPT", 71),
            ("PORT", 0x4002_0800),
            ("PORT_GATE", 2),
            ("TX", 6),
            ("RX", 7),
            ("FUNCTION", 8),
        ),
        qemu=Qemu(machine="netduinoplus2", icount_shift=8, timer_hz=168_000_000, serial=5),
        status="emulated",
    ),
    Target(
        name="nucleo-f446re",
        description="STM32F446RE; UART by the ST-LINK (USART2, PA2 and PA3)",
        core=CORTEX_M4,
        sources=_F4,
        toolchains=_TOOLCHAINS,
        clock_hz=168_000_000,
        flash=Memory(origin=_FLASH, bytes=512 << 10),
        ram=Memory(origin=_RAM, bytes=128 << 10),
        stack_bytes=8 << 10,
        receive_bytes=4 << 10,
        constants=(
            ("HSE_HZ", 8_000_000),
            ("HSE_BYPASS", 1),
            ("UART", 0x4000_4400),
            ("UART_GATE", 17),
            ("UART_INTERRUPT", 38),
            ("PORT", 0x4002_0000),
            ("PORT_GATE", 0),
            ("TX", 2),
            ("RX", 3),
            ("FUNCTION", 7),
        ),
        status="compile-tested",
    ),
    Target(
        name="stm32vldiscovery",
        description="STM32F100RB, 8 KiB of RAM; UART on PA9 and PA10 (USART1)",
        core=CORTEX_M3,
        sources=(*_COMMON, "stm32_usart", "stm32f1"),
        toolchains=_TOOLCHAINS,
        clock_hz=24_000_000,
        flash=Memory(origin=_FLASH, bytes=128 << 10),
        ram=Memory(origin=_RAM, bytes=8 << 10),
        stack_bytes=2 << 10,
        receive_bytes=640,
        constants=(
            ("HSE_HZ", 8_000_000),
            ("UART", 0x4001_3800),
            ("UART_INTERRUPT", 37),
        ),
        qemu=Qemu(machine="stm32vldiscovery", icount_shift=8, timer_hz=24_000_000),
        status="emulated",
    ),
    Target(
        name="nucleo-h743zi",
        description="STM32H743ZI; UART by the ST-LINK (USART3, PD8 and PD9)",
        core=CORTEX_M7,
        sources=(*_COMMON, "stm32_usart_v2", "stm32_gpio", "stm32h7"),
        toolchains=_TOOLCHAINS,
        clock_hz=400_000_000,
        flash=Memory(origin=_FLASH, bytes=2 << 20),
        ram=Memory(origin=0x2400_0000, bytes=512 << 10),
        stack_bytes=8 << 10,
        receive_bytes=4 << 10,
        constants=(
            ("HSE_HZ", 8_000_000),
            ("HSE_BYPASS", 1),
            ("UART", 0x4000_4800),
            ("UART_GATE", 18),
            ("UART_INTERRUPT", 39),
            ("UART_DIVIDER_STEPS", 1),
            ("PORT", 0x5802_0C00),
            ("PORT_GATE", 3),
            ("TX", 8),
            ("RX", 9),
            ("FUNCTION", 7),
        ),
        status="compile-tested",
    ),
    Target(
        name="nucleo-l4r5zi",
        description="STM32L4R5ZI; UART by the ST-LINK (LPUART1, PG7 and PG8)",
        core=CORTEX_M4,
        sources=(*_COMMON, "stm32_usart_v2", "stm32_gpio", "stm32l4"),
        toolchains=_TOOLCHAINS,
        clock_hz=120_000_000,
        flash=Memory(origin=_FLASH, bytes=2 << 20),
        ram=Memory(origin=_RAM, bytes=640 << 10),
        stack_bytes=8 << 10,
        receive_bytes=4 << 10,
        constants=(
            ("UART", 0x4000_8000),
            ("UART_INTERRUPT", 70),
            ("UART_DIVIDER_STEPS", 256),
            ("PORT", 0x4800_1800),
            ("PORT_GATE", 6),
            ("TX", 7),
            ("RX", 8),
            ("FUNCTION", 8),
        ),
        status="compile-tested",
    ),
)
