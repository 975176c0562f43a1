"""Rows of Raspberry Pi's boards. UART0 is on GPIO 0, which sends, and GPIO 1.

The two chips share their drivers: `*_RESET` is a device's bit among the resets, `PLL_FIRST` and
`PLL_SECOND` divide 1,500 MHz, and `RING_HZ` is about what the CPU runs at without a crystal.
"""

from tesla_host.catalogue.cores import CORTEX_M0_PLUS, CORTEX_M33
from tesla_host.catalogue.rows import Memory, Target

_SOURCES = ("cortex_m", "chip", "cortex_m_counter", "rp2", "pl011")
_FLASH = 0x1000_0000
_RAM = 0x2000_0000

RASPBERRY_PI = (
    Target(
        name="pico",
        description="RP2040; UART on GPIO 0 and 1",
        core=CORTEX_M0_PLUS,
        sources=(*_SOURCES, "rp2040"),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=125_000_000,
        flash=Memory(origin=_FLASH, bytes=2 << 20),
        ram=Memory(origin=_RAM, bytes=264 << 10),
        stack_bytes=8 << 10,
        receive_bytes=4 << 10,
        constants=(
            ("CLOCKS", 0x4000_8000),
            ("RESETS", 0x4000_C000),
            ("PINS", 0x4001_4000),
            ("PADS", 0x4001_C000),
            ("CRYSTAL", 0x4002_4000),
            ("PLL", 0x4002_8000),
            ("PLL_FIRST", 6),
            ("PLL_SECOND", 2),
            ("RING_HZ", 6_500_000),
            ("UART", 0x4003_4000),
            ("UART_INTERRUPT", 20),
            ("PINS_RESET", 5),
            ("PADS_RESET", 8),
            ("PLL_RESET", 12),
            ("UART_RESET", 22),
        ),
        status="compile-tested",
    ),
    Target(
        name="pico2",
        description="RP2350, its Arm cores; UART on GPIO 0 and 1",
        core=CORTEX_M33,
        sources=(*_SOURCES, "rp2350"),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=150_000_000,
        flash=Memory(origin=_FLASH, bytes=4 << 20),
        ram=Memory(origin=_RAM, bytes=520 << 10),
        stack_bytes=8 << 10,
        receive_bytes=4 << 10,
        constants=(
            ("CLOCKS", 0x4001_0000),
            ("RESETS", 0x4002_0000),
            ("PINS", 0x4002_8000),
            ("PADS", 0x4003_8000),
            ("CRYSTAL", 0x4004_8000),
            ("PLL", 0x4005_0000),
            ("PLL_FIRST", 5),
            ("PLL_SECOND", 2),
            ("RING_HZ", 11_000_000),
            ("UART", 0x4007_0000),
            ("UART_INTERRUPT", 33),
            ("PINS_RESET", 6),
            ("PADS_RESET", 9),
            ("PLL_RESET", 14),
            ("UART_RESET", 26),
        ),
        status="compile-tested",
    ),
)
