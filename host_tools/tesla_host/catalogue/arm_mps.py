"""Rows of Arm's MPS2 and MPS3 boards: their FPGA holds any CPU, and QEMU emulates them.

They exist to try CPUs. A row is the board in QEMU, whose timers count instructions exactly.
"""

from tesla_host.catalogue.cores import CORTEX_M3, CORTEX_M4, CORTEX_M7, CORTEX_M55
from tesla_host.catalogue.rows import Core, Memory, Qemu, Target

_STACK_BYTES = 8 << 10
_COUNTS = "in QEMU: exact instruction counts"


def _mps2(image: str, core: Core) -> Target:
    """The MPS2 board with one of Arm's images, which differ in the CPU alone."""
    return Target(
        name=f"qemu:mps2-{image}",
        description=f"{core.name} of Arm's MPS2 board {_COUNTS}",
        core=core,
        sources=("cortex_m", "cmsdk", "mps2"),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=25_000_000,
        flash=Memory(origin=0, bytes=4 << 20),
        ram=Memory(origin=0x2000_0000, bytes=4 << 20),
        stack_bytes=_STACK_BYTES,
        constants=(
            ("UART", 0x4000_4000),
            ("UART_INTERRUPT", 0),
            ("TIMER", 0x4000_0000),
            ("DUAL_TIMER", 0x4000_2000),
        ),
        qemu=Qemu(machine=f"mps2-{image}", icount_shift=8, timer_hz=25_000_000),
        status="emulated",
    )


ARM_MPS = (
    _mps2("an385", CORTEX_M3),
    _mps2("an386", CORTEX_M4),
    _mps2("an500", CORTEX_M7),
    Target(
        name="qemu:mps3-an547",
        description=f"Cortex-M55 with Helium of Arm's MPS3 board {_COUNTS}",
        core=CORTEX_M55,
        sources=("cortex_m", "cmsdk", "mps3"),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=32_000_000,
        flash=Memory(origin=0x1000_0000, bytes=512 << 10),
        ram=Memory(origin=0x3100_0000, bytes=4 << 20),
        stack_bytes=_STACK_BYTES,
        constants=(
            ("UART", 0x5930_3000),
            ("UART_INTERRUPT", 33),
            ("COUNTER", 0x5800_0000),
            ("COUNTER_CONTROL", 0x5810_0000),
        ),
        qemu=Qemu(machine="mps3-an547", icount_shift=8, timer_hz=32_000_000),
        status="emulated",
    ),
)
