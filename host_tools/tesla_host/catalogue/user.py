"""A user's own board, described by a TOML file outside this package.

In: the path of the file. Out: a row like those of the catalogue. Refuses, with `ConfigError`, what
cannot be read, members that do not exist (the message names the nearest that does), wrong types
and numbers that contradict each other. docs/adding-a-board.md tells the members.
"""

import difflib
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import msgspec

from tesla_embed.errors import ConfigError
from tesla_host.catalogue import cores, riscv
from tesla_host.catalogue.rows import QEMU_PREFIX, Core, Memory, Qemu, Target
from tesla_host.compilers import ARM, RISCV

SUFFIX = ".toml"
_GUIDE = "docs/adding-a-board.md"
_PARTS = {
    ARM: ("cortex_m", "cortex_m_counter", "cortex_m_defaults", "defaults"),
    RISCV: ("riscv", "riscv_counters", "defaults"),
}
"""Folders of the firmware's boards that serve every board of an architecture."""
_QEMU = {ARM: ("qemu-system-arm", 8, ()), RISCV: ("qemu-system-riscv32", 0, ("-bios", "none"))}
"""QEMU's program, its usual `icount_shift`, and what it is called with."""
_RESERVED = {
    *("NAME", "CPU", "CLOCK_HZ", "FLASH", "FLASH_BYTES", "RAM", "RAM_BYTES"),
    *("H", "INSTRUCTIONS_OF_TICKS", "TICKS_OF_INSTRUCTIONS", "COUNTER_INTERRUPT"),
}
"""Macros, without `TESLA_TARGET_`, that our own code gives a meaning."""
_ALIGNMENT = 16
"""Bytes: what the stack, the linker script and memory protection take for granted."""
_VECTORS, _MOST_DEVICES, _FEWEST_TABLE_BYTES = 16, 480, 128
"""Of a Cortex-M: entries before those of devices, the most devices, and the table's alignment."""
_CODE, _HEADER = (".c", ".S"), ".h"
_ADDRESSES = 1 << 32

Word = Annotated[int, msgspec.Meta(ge=0, lt=_ADDRESSES)]
Positive = Annotated[int, msgspec.Meta(ge=1, lt=_ADDRESSES)]


class Range(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A range of addresses."""

    origin: Word
    bytes: Positive


class Emulation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The board in QEMU; `timer_hz` is how fast its SysTick counts there: `clock_hz` if left out.

    On RISC-V minstret counts, and neither `timer_hz` nor `icount_shift` are to be given.
    """

    machine: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]+\Z")]
    timer_hz: Positive | None = None
    icount_shift: Annotated[int, msgspec.Meta(ge=0, le=10)] | None = None
    serial: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0


class Drive(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A drive that takes UF2 files."""

    family: Word
    board_id: str


class Programmers(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What programmers call the board; the members are those of `flash.boards.FlashBoard`."""

    openocd: tuple[str, ...] = ()
    pyocd: str = ""
    jlink: str = ""
    stlink: bool = False
    rom_uart: bool = False
    nordic: bool = False
    west: str = ""
    uf2: Drive | None = None


class BoardFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The file as it stands."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,23}\Z")]
    core: str
    clock_hz: Positive
    flash: Range
    ram: Range
    sources: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    description: str = ""
    stack_bytes: Positive = 8 << 10
    receive_bytes: Word = 0
    toolchains: tuple[str, ...] = ()
    constants: dict[Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]*\Z")], Word] = {}
    qemu: Emulation | None = None
    programmers: Programmers | None = None


def known_cores() -> dict[str, Core]:
    """Every core of the catalogue by its name."""
    found = (value for module in (cores, riscv) for value in vars(module).values())
    return {core.name: core for core in found if isinstance(core, Core)}


def names_file(target: str) -> bool:
    """Whether a target's name is the path of a board's file, with `qemu:` before it or not."""
    return target.endswith(SUFFIX)


def file_of(target: str) -> Path:
    """The path in such a name."""
    return Path(target.removeprefix(QEMU_PREFIX))


def read_board(path: Path) -> BoardFile:
    """The checked content of a board's file. Raises `ConfigError`."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ConfigError(f"{path} is no TOML file: {error}; see {_GUIDE}") from error
    _check_members(path, content, BoardFile, "")
    try:
        board = msgspec.convert(content, BoardFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}; see {_GUIDE}") from error
    _check_numbers(path, board)
    return board


def user_target(path: Path) -> Target:
    """The row that a board's file describes. Raises `ConfigError`."""
    board = read_board(path)
    core = _core(path, board)
    _check_origins(path, board, core.architecture)
    return Target(
        name=board.name,
        description=board.description or f"{core.name}, described by {path}",
        core=core,
        sources=_PARTS[core.architecture],
        files=_sources(path, board),
        toolchains=_toolchains(path, board, core),
        clock_hz=board.clock_hz,
        flash=Memory(origin=board.flash.origin, bytes=board.flash.bytes),
        ram=Memory(origin=board.ram.origin, bytes=board.ram.bytes),
        stack_bytes=board.stack_bytes,
        receive_bytes=board.receive_bytes,
        constants=tuple(board.constants.items()),
        qemu=_qemu(path, board, core),
        status="a user's own",
    )


def _check_members(path: Path, table: Mapping[str, Any], kind: type, where: str) -> None:
    """Refuse members that do not exist, with the nearest that does."""
    hints = get_type_hints(kind)
    for name, value in table.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1, cutoff=0.5)
            hint = f"do you mean {near[0]!r}?" if near else f"there are {', '.join(hints)}"
            raise ConfigError(f"{path}: nothing is called {where}{name}; {hint}")
        below = next((t for t in (hints[name], *get_args(hints[name])) if _is_struct(t)), None)
        if below is not None and isinstance(value, dict):
            _check_members(path, value, below, f"{where}{name}.")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _check_numbers(path: Path, board: BoardFile) -> None:
    for name, memory in (("flash", board.flash), ("ram", board.ram)):
        if memory.origin + memory.bytes > _ADDRESSES:
            raise ConfigError(f"{path}: {name} ends behind the last address; check its bytes")
    flash, ram = board.flash, board.ram
    if flash.origin < ram.origin + ram.bytes and ram.origin < flash.origin + flash.bytes:
        raise ConfigError(f"{path}: flash and ram overlap; correct their origin and bytes")
    if board.stack_bytes % 16 or board.stack_bytes >= ram.bytes:
        raise ConfigError(
            f"{path}: stack_bytes is {board.stack_bytes}; give a multiple of 16 below ram.bytes"
        )
    if board.receive_bytes > ram.bytes:
        raise ConfigError(
            f"{path}: receive_bytes is {board.receive_bytes}, more than the RAM; give the bytes "
            "that your buffer takes"
        )
    for name in _RESERVED & set(board.constants):
        raise ConfigError(f"{path}: constants.{name} exists already; choose another name")


def _check_origins(path: Path, board: BoardFile, architecture: str) -> None:
    """Memories begin where the stack and the table of vectors can lie."""
    devices = board.constants.get("UART_INTERRUPT", -1) + 1
    if architecture == ARM and devices > _MOST_DEVICES:
        raise ConfigError(
            f"{path}: no Cortex-M has an interrupt {devices - 1}; correct constants.UART_INTERRUPT"
        )
    table = max(_FEWEST_TABLE_BYTES, 1 << (4 * (_VECTORS + devices) - 1).bit_length())
    steps = {"flash": table if architecture == ARM else _ALIGNMENT, "ram": _ALIGNMENT}
    for name, memory in (("flash", board.flash), ("ram", board.ram)):
        if memory.origin % steps[name]:
            raise ConfigError(
                f"{path}: {name}.origin is 0x{memory.origin:x}; give a multiple of {steps[name]}"
            )


def _core(path: Path, board: BoardFile) -> Core:
    known = known_cores()
    if board.core not in known:
        near = difflib.get_close_matches(board.core, known, 1, cutoff=0.5)
        hint = f"do you mean {near[0]!r}? There" if near else "there"
        raise ConfigError(
            f"{path}: no core is called {board.core!r}; {hint} are {', '.join(known)}"
        )
    return known[board.core]


def _toolchains(path: Path, board: BoardFile, core: Core) -> tuple[str, ...]:
    for name in board.toolchains:
        if name not in core.flags:
            raise ConfigError(
                f"{path}: {core.name} is not built with {name!r}; use {' or '.join(core.flags)}"
            )
    return board.toolchains or tuple(core.flags)


def _sources(path: Path, board: BoardFile) -> tuple[Path, ...]:
    """The C and assembly files that `sources` names or that lie in folders that it names."""
    found: list[Path] = []
    for name in board.sources:
        place = path.parent / name
        if place.is_dir():
            inside = sorted(file for file in place.rglob("*") if file.suffix in _CODE)
            if not inside:
                raise ConfigError(f"{path}: no .c or .S file lies in {place}; correct sources")
            found += inside
        elif not place.is_file():
            raise ConfigError(f"{path}: sources names {place}, which does not exist")
        elif place.suffix in _CODE:
            found.append(place)
        elif place.suffix == _HEADER:
            raise ConfigError(
                f"{path}: {place} is a header, and nothing compiles it; leave it out of sources: "
                "an #include finds it from the file where it stands"
            )
        else:
            raise ConfigError(f"{path}: {place} is neither .c nor .S; correct sources")
    return tuple(dict.fromkeys(file.resolve() for file in found))


def _qemu(path: Path, board: BoardFile, core: Core) -> Qemu | None:
    wanted = board.qemu
    if wanted is None:
        return None
    program, shift, options = _QEMU[core.architecture]
    if core.architecture == RISCV:
        if wanted.timer_hz is not None or wanted.icount_shift is not None:
            raise ConfigError(
                f"{path}: on RISC-V minstret counts; leave out qemu.timer_hz and qemu.icount_shift"
            )
        timer_hz = 10**9
    else:
        timer_hz = board.clock_hz if wanted.timer_hz is None else wanted.timer_hz
        shift = shift if wanted.icount_shift is None else wanted.icount_shift
    made = Qemu(
        machine=wanted.machine,
        icount_shift=shift,
        timer_hz=timer_hz,
        serial=wanted.serial,
        program=program,
        options=options,
    )
    if core.architecture == ARM and made.instructions_per_tick >= Fraction(1, 3):
        raise ConfigError(
            f"{path}: with qemu.timer_hz {timer_hz} and qemu.icount_shift {shift} an instruction "
            "takes no three ticks, too few to count by; give a larger icount_shift, up to 10"
        )
    return made
