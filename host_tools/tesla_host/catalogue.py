"""The catalogue of targets: one row of data per board, and nothing but data.

Out: `TARGETS`. A row holds what is known of a board exactly once; the linker script, the header
`tesla_target.h`, the compilers' flags and the emulators' settings are made from it (see `board`).
A new board is a new row and, where no driver fits, a small driver in the firmware's `boards/`.
"""

from dataclasses import dataclass
from fractions import Fraction

from tesla_codegen.kernels.variant import Isa


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A CPU, whose kernels it runs, and what makes each compiler emit code for it."""

    name: str
    isa: Isa
    zig_flags: tuple[str, ...]
    gcc_flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A range of addresses."""

    origin: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Qemu:
    """How QEMU emulates a board: every instruction takes 2^`icount_shift` ns of its time.

    A timer of `timer_hz` then counts instructions, exactly while one takes several ticks.
    """

    machine: str
    icount_shift: int
    timer_hz: int

    @property
    def instructions_per_tick(self) -> Fraction:
        """Instructions that pass in one tick of the timer."""
        return Fraction(10**9, self.timer_hz * 2**self.icount_shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One board, or this machine.

    `sources` are folders of the firmware's `boards/` that make up the board; `toolchains` the kinds
    that `toolchain.find_compiler` knows, the usual one first. `core`, `flash` and `ram` are None
    where nothing is known or limited, as on this machine. `receive_bytes` is how much input the
    board keeps while its CPU computes. `constants` are further numbers of the row that its drivers
    need, by name.

    `status` says honestly what was tried: `emulated`, `compile-tested`, `hardware-verified`,
    or `native` for this machine itself.
    """

    name: str
    description: str
    sources: tuple[str, ...]
    toolchains: tuple[str, ...]
    status: str
    core: Core | None = None
    clock_hz: int = 0
    flash: Memory | None = None
    ram: Memory | None = None
    stack_bytes: int = 0
    receive_bytes: int = 0
    constants: tuple[tuple[str, int], ...] = ()
    qemu: Qemu | None = None

    @property
    def cpu(self) -> str:
        """The name of the CPU."""
        return self.core.name if self.core else "native"

    @property
    def isa(self) -> Isa:
        """Whose kernels it runs."""
        return self.core.isa if self.core else Isa.PORTABLE

    @property
    def compiler(self) -> str:
        """The toolchain that builds for it unless another one is asked for."""
        return self.toolchains[0]


_BARE = "-ffreestanding"
# Without the floating-point unit: its registers would need start-up code and gain integer code
# nothing.
CORTEX_M4 = Core(
    name="Cortex-M4",
    isa=Isa.DSP,
    zig_flags=("--target=thumb-freestanding-eabi", "-mcpu=cortex_m4+soft_float", _BARE),
    gcc_flags=("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", _BARE),
)
# Vectors (Helium) live in the registers of the floating-point unit.
CORTEX_M55 = Core(
    name="Cortex-M55",
    isa=Isa.HELIUM,
    zig_flags=("--target=thumb-freestanding-eabihf", "-mcpu=cortex_m55+mve+mve_fp", _BARE),
    gcc_flags=("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", _BARE),
)
_STACK_BYTES = 8 << 10

TARGETS = (
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
