"""Rows of this machine and of the boards that exist to be emulated."""

from tesla_host.catalogue.cores import CORTEX_M4, CORTEX_M55
from tesla_host.catalogue.rows import Memory, Qemu, Target

_STACK_BYTES = 8 << 10

EMULATED = (
    Target(
        name="emulator",
        description="Cortex-M4 in this process: exact instruction counts, estimated cycles",
        core=CORTEX_M4,
        sources=("cortex_m", "emulator"),
        toolchains=("zig", "gcc"),
        # The clock of an STM32F405, a common Cortex-M4: it only turns cycles into seconds.
        clock_hz=168_000_000,
        flash=Memory(origin=0, bytes=1 << 20),
        ram=Memory(origin=0x2000_0000, bytes=256 << 10),
        stack_bytes=_STACK_BYTES,
        receive_bytes=32 << 10,
        constants=(("DEVICES", 0x4000_0000),),
        status="emulated",
    ),
    Target(
        name="host",
        description="the same firmware as a process of this machine: for bulk accuracy",
        sources=("host",),
        toolchains=("host",),
        receive_bytes=32 << 10,
        status="native",
    ),
    Target(
        name="qemu:mps2-an386",
        description="Cortex-M4 of Arm's MPS2 board in QEMU: exact instruction counts",
        core=CORTEX_M4,
        sources=("cortex_m", "cmsdk", "mps2"),
        toolchains=("zig", "gcc"),
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
        qemu=Qemu(machine="mps2-an386", icount_shift=8, timer_hz=25_000_000),
        status="emulated",
    ),
    Target(
        name="qemu:mps3-an547",
        description="Cortex-M55 with Helium of Arm's MPS3 board in QEMU: exact instruction counts",
        core=CORTEX_M55,
        sources=("cortex_m", "cmsdk", "mps3"),
        toolchains=("zig", "gcc"),
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
