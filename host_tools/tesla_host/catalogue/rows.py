"""What a row of the catalogue says: types of data, and nothing else.

A row holds what is known of a board exactly once; the linker script, the header `tesla_target.h`,
the compilers' flags and the emulators' settings are made from it (see `tesla_host.board`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tesla_codegen.kernels.variant import Isa
from tesla_host.compilers import ARM

QEMU_PREFIX = "qemu:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A CPU, whose kernels it runs, and what makes each toolchain emit code for it.

    `flags` are those of a kind of `compilers.find_compiler`; a kind that is missing there cannot
    build for the CPU. `architecture` is one of `compilers.GNU`.
    """

    name: str
    isa: Isa
    flags: Mapping[str, tuple[str, ...]]
    architecture: str = ARM


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A range of addresses."""

    origin: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Qemu:
    """How QEMU emulates a board: every instruction takes 2^`icount_shift` ns of its time.

    A timer of `timer_hz` then counts instructions, exactly while one takes several ticks, or one.
    The firmware's UART is the machine's serial port number `serial`, from 0. `program` is the QEMU
    of the architecture, `options` what else it is called with.
    """

    machine: str
    icount_shift: int
    timer_hz: int
    serial: int = 0
    program: str = "qemu-system-arm"
    options: tuple[str, ...] = ()

    @property
    def instructions_per_tick(self) -> Fraction:
        """Instructions that pass in one tick of the timer."""
        return Fraction(10**9, self.timer_hz * 2**self.icount_shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One board, or this machine.

    A board that QEMU models is one row: the firmware of `NAME` is the one that `qemu:NAME` runs.
    `unicorn` names Unicorn's CPU where the target is the emulator in this process.

    `sources` are folders of the firmware's `boards/` that make up the board, `files` what a user's
    own board adds from elsewhere; `toolchains` the kinds that `compilers.find_compiler` knows, the
    usual one first. `core`, `flash` and `ram` are None
    where nothing is known or limited, as on this machine. `receive_bytes` is how much input the
    board keeps while its CPU computes. `constants` are further numbers of the row that its drivers
    need, by name.

    `status` says honestly what was tried: `emulated` (it runs in QEMU or Unicorn),
    `compile-tested` (it is built, and runs against a model of the chip's registers),
    `hardware-verified`, `native` for this machine itself, or `a user's own`, of which we know
    nothing.
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
    unicorn: str = ""
    files: tuple[Path, ...] = ()

    @property
    def runs_as(self) -> str | None:
        """The name under which this machine runs it; None for a board that nothing emulates."""
        if self.core is None or self.unicorn or self.name.startswith(QEMU_PREFIX):
            return self.name
        return f"{QEMU_PREFIX}{self.name}" if self.qemu else None

    @property
    def names(self) -> tuple[str, ...]:
        """What `--target` may call it: a board, and that board in QEMU."""
        return tuple(dict.fromkeys(name for name in (self.name, self.runs_as) if name))

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
