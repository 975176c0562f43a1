"""Rows of Texas Instruments' chips: the Stellaris that QEMU has modelled longest."""

from tesla_host.catalogue.cores import CORTEX_M3
from tesla_host.catalogue.rows import Memory, Qemu, Target

TI = (
    Target(
        name="lm3s6965evb",
        description="LM3S6965; UART0 (PL011) by its USB",
        core=CORTEX_M3,
        sources=("cortex_m", "chip", "cortex_m_counter", "lm3s", "pl011"),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=50_000_000,
        flash=Memory(origin=0, bytes=256 << 10),
        ram=Memory(origin=0x2000_0000, bytes=64 << 10),
        stack_bytes=4 << 10,
        receive_bytes=4 << 10,
        constants=(("UART", 0x4000_C000), ("UART_INTERRUPT", 5)),
        qemu=Qemu(machine="lm3s6965evb", icount_shift=8, timer_hz=50_000_000),
        status="emulated",
    ),
)
