"""Rows of Nordic's chips. Their UART reaches the host by the board's debug probe."""

from tesla_host.catalogue.cores import CORTEX_M0, CORTEX_M4
from tesla_host.catalogue.rows import Memory, Qemu, Target

NORDIC = (
    Target(
        name="microbit",
        description="micro:bit 1, nRF51822 with 16 KiB of RAM; UART by its USB",
        core=CORTEX_M0,
        sources=("cortex_m", "chip", "nrf_clock", "nrf51", "nrf_uart"),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=16_000_000,
        flash=Memory(origin=0, bytes=256 << 10),
        ram=Memory(origin=0x2000_0000, bytes=16 << 10),
        stack_bytes=2 << 10,
        receive_bytes=1 << 10,
        constants=(
            *(("UART", 0x4000_2000), ("UART_INTERRUPT", 2), ("TX", 24), ("RX", 25)),
            ("COUNTER_INTERRUPT", 8),
        ),
        qemu=Qemu(machine="microbit", icount_shift=8, timer_hz=16_000_000),
        status="emulated",
    ),
    Target(
        name="nrf52840-dk",
        description="nRF52840; UART by its J-Link",
        core=CORTEX_M4,
        sources=(
            *("cortex_m", "chip", "cortex_m_counter"),
            *("nrf_clock", "nrf52", "nrf_uart"),
        ),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=64_000_000,
        flash=Memory(origin=0, bytes=1 << 20),
        ram=Memory(origin=0x2000_0000, bytes=256 << 10),
        stack_bytes=8 << 10,
        receive_bytes=4 << 10,
        constants=(("UART", 0x4000_2000), ("UART_INTERRUPT", 2), ("TX", 6), ("RX", 8)),
        status="compile-tested",
    ),
)
