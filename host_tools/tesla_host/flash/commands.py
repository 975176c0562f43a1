"""From a programmer's row, a board's row and an ELF to command lines.

In: which programmer, or none: then the first that is on PATH and supports the board. Out: a `Plan`,
whose files are written and whose commands can be run as they stand. Refuses a programmer that
cannot reach the board, or lacks a port, with `ConfigError`, and one that is not installed with
`ToolchainError`, whose message is how to install it.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tesla_embed.atomic import write_bytes
from tesla_embed.errors import ConfigError, DeviceError, ToolchainError
from tesla_host.flash.boards import FlashBoard
from tesla_host.flash.drives import choose_drive, find_drives
from tesla_host.flash.images import encode_image, read_segments
from tesla_host.flash.programmers import PROGRAMMERS, UF2, Form, Programmer, find_programmer

Words = tuple[str, ...]

_GDB_SERVER = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}\Z|/\S+\Z")
"""A host's name or address and a port, or the path of a socket or of a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asked for; nothing of it is needed by every programmer."""

    programmer: str | None = None
    port: str | None = None
    probe: str | None = None
    drive: Path | None = None
    baud: int = 115_200
    extra: Words = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done: `commands` one after the other, or a copy to `drive`."""

    programmer: Programmer
    commands: tuple[Words, ...]
    image: Path
    drive: Path | None = None


def make_plan(elf: Path, board: FlashBoard, wishes: Wishes, *, dry: bool = False) -> Plan:
    """Choose a programmer and prepare its files beside `elf`.

    `dry` shows the commands of a programmer that was asked for even where it is not installed.
    """
    segments = read_segments(elf, board)
    programmer, tool, drive = prepare(board, wishes, dry=dry)
    image = elf
    if programmer.form is not Form.ELF:
        image = _beside(elf, programmer.form)
        write_bytes(image, encode_image(programmer.form, segments, board))
    values = _values(elf, image, board, wishes, drive)
    values["tool"] = tool
    values["probe"] = _probe(programmer, wishes)
    if programmer.script:
        script = _beside(elf, programmer.name)
        write_bytes(script, programmer.script.format_map(values).encode())
        values["script"] = str(script.resolve())
    commands = tuple(render(command, values) for command in programmer.commands)
    return Plan(programmer=programmer, commands=commands, image=image, drive=drive)


def prepare(
    board: FlashBoard, wishes: Wishes, *, dry: bool = False
) -> tuple[Programmer, str, Path | None]:
    """The programmer, its program, and the drive of one that copies: all that needs no firmware.

    Raises what `make_plan` does, and may be asked before anything is built.
    """
    programmer = choose_programmer(board, wishes)
    if programmer.needs_port and wishes.port is None:
        raise ConfigError(f"{programmer.name} needs --port, the serial port of the {board.name}")
    if programmer.needs_probe and (wishes.probe is None or not _GDB_SERVER.match(wishes.probe)):
        given = "" if wishes.probe is None else f", not {wishes.probe!r}"
        raise ConfigError(f"{programmer.name} needs --probe, a gdb server: HOST:PORT{given}")
    _probe(programmer, wishes)
    drive = _drive(board, wishes, dry=dry) if programmer is UF2 else None
    tool = find_tool(programmer)
    if tool is None and not dry:
        raise ToolchainError(f"{programmer.name} is not on PATH: {programmer.install}")
    return programmer, tool or (*programmer.executables, "")[0], drive


def choose_programmer(board: FlashBoard, wishes: Wishes) -> Programmer:
    """The programmer asked for, or the first of `PROGRAMMERS` that is at hand."""
    if wishes.programmer is not None:
        wanted = find_programmer(wishes.programmer)
        if not wanted.supports(board):
            names = ", ".join(row.name for row in PROGRAMMERS if row.supports(board))
            raise ConfigError(f"{wanted.name} cannot flash a {board.name}; these can: {names}")
        return wanted
    able = [row for row in PROGRAMMERS if row.automatic and row.supports(board)]
    for row in able:
        if row is UF2:
            if wishes.drive is not None or find_drives(board):
                return row
        elif find_tool(row) is not None and (wishes.port is not None or not row.needs_port):
            return row
    ways = "; ".join(f"{row.name}: {row.install}" for row in able if row.install)
    raise ToolchainError(f"nothing at hand flashes a {board.name}. {ways}")


def find_tool(programmer: Programmer) -> str | None:
    """The program's path; empty where it is part of this package, `None` where it is missing."""
    if not programmer.executables:
        return ""
    found = (shutil.which(name) for name in programmer.executables)
    return next((path for path in found if path is not None), None)


def render(command: Words, values: Mapping[str, str | Words]) -> Words:
    """Put values into a command line; a word that is one brace becomes as many as its value has.

    `"{probe}"` with the value `("--uid", "7")` becomes two words, with `()` none; `"-S{base}"` is
    always one.
    """
    words: list[str] = []
    for word in command:
        name = word[1:-1]
        value = values.get(name) if word == f"{{{name}}}" else None
        if isinstance(value, tuple):
            words += value
        else:
            words.append(word.format_map(values))
    return tuple(words)


def _beside(elf: Path, suffix: str) -> Path:
    """A file named after the ELF, and never the ELF itself."""
    path = elf.with_suffix(f".{suffix}")
    return path if path != elf else elf.with_name(f"{elf.name}.{suffix}")


def _values(
    elf: Path, image: Path, board: FlashBoard, wishes: Wishes, drive: Path | None
) -> dict[str, str | Words]:
    return {
        "file": str(image.resolve()),
        "converted": str(_beside(elf, Form.BIN).resolve()),
        "base": f"0x{board.flash.origin:08x}",
        "port": wishes.port or "",
        "baud": str(wishes.baud),
        "drive": str(drive),
        "extra": wishes.extra,
        "serial": wishes.probe or "",
        "openocd": board.openocd,
        "pyocd": board.pyocd,
        "jlink": board.jlink,
        "esp": board.esp.chip if board.esp else "",
        "offset": f"0x{board.esp.offset:x}" if board.esp else "",
    }


def _probe(programmer: Programmer, wishes: Wishes) -> Words:
    if wishes.probe is None:
        return ()
    if not programmer.probe:
        raise ConfigError(f"{programmer.name} uses no debug probe; leave out --probe")
    return render(programmer.probe, {"serial": wishes.probe})


def _drive(board: FlashBoard, wishes: Wishes, *, dry: bool) -> Path:
    try:
        return choose_drive(board, wishes.drive)
    except DeviceError:
        if dry and wishes.drive is None:
            return Path("DRIVE")
        raise
