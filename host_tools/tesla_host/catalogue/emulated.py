"""Rows of this machine: CPUs in this process, and the firmware as a native process."""

from tesla_host.catalogue.cores import CORTEX_M0_PLUS, CORTEX_M4, CORTEX_M7, CORTEX_M33
from tesla_host.catalogue.rows import Core, Memory, Target


def _emulator(name: str, core: Core, unicorn: str, clock_hz: int, counters: str) -> Target:
    """A CPU in Unicorn; it has no clock: `clock_hz` is a common one, and only limits waiting."""
    return Target(
        name=name,
        description=f"{core.name} in this process: {counters}",
        core=core,
        sources=("cortex_m", "emulator"),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=clock_hz,
        flash=Memory(origin=0, bytes=1 << 20),
        ram=Memory(origin=0x2000_0000, bytes=256 << 10),
        stack_bytes=8 << 10,
        receive_bytes=32 << 10,
        # The estimate of cycles is a Cortex-M4's: others count instructions alone.
        constants=(("DEVICES", 0x4000_0000), ("COUNTERS", 2 if core is CORTEX_M4 else 1)),
        status="emulated",
        unicorn=unicorn,
    )


_EXACT = "exact instruction counts"

EMULATED = (
    # The clock of an STM32F405, a common Cortex-M4: it turns estimated cycles into seconds.
    _emulator("emulator", CORTEX_M4, "CORTEX_M4", 168_000_000, f"{_EXACT}, estimated cycles"),
    # Unicorn has no Cortex-M0+; both are Armv6-M, and the firmware uses nothing else.
    _emulator("emulator:m0plus", CORTEX_M0_PLUS, "CORTEX_M0", 125_000_000, _EXACT),
    _emulator("emulator:m7", CORTEX_M7, "CORTEX_M7", 400_000_000, _EXACT),
    _emulator("emulator:m33", CORTEX_M33, "CORTEX_M33", 150_000_000, _EXACT),
    Target(
        name="host",
        description="the same firmware as a process of this machine: for bulk accuracy",
        sources=("host",),
        toolchains=("host",),
        receive_bytes=32 << 10,
        status="native",
    ),
)
