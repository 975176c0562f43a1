"""The way from a target's name to a running firmware.

In: a target's name (`emulator`, `host`, `qemu:MACHINE`, a board's), or a connection (`serial:PORT`,
`socket://HOST:PORT`, `rfc2217://HOST:PORT`, or `auto`: the serial port where the model runs).
Out: its row of the catalogue, or a `Pipe`. Refuses, with `ConfigError`, an unknown name (it tells
the nearest) and running what only runs on a board.
"""

import difflib
from importlib import import_module
from pathlib import Path

from tesla_embed.errors import ConfigError
from tesla_host.catalogue import TARGETS, Target
from tesla_host.catalogue.user import file_of, names_file, user_target
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.pipes import Pipe, ProcessPipe
from tesla_host.link.ports import AUTO, Port, find_boards, is_connection

__all__ = [
    "TARGETS",
    "Target",
    "check_runs",
    "check_target",
    "find_target",
    "is_connection",
    "open_link",
    "open_target",
    "start",
    "target_names",
]


def find_target(name: str) -> Target:
    """A row of the catalogue, or of a user's own file `PATH.toml`.

    Raises `ConfigError` when there is none of this name.
    """
    if names_file(name):
        return user_target(file_of(name))
    for target in TARGETS:
        if name in target.names:
            return target
    near = difflib.get_close_matches(name, target_names(), 3)
    hint = f"do you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(
        f"unknown target {name!r}; {hint}`tesla-embed targets` lists them; a board that runs "
        "already is serial:PORT, socket://HOST:PORT, rfc2217://HOST:PORT or auto"
    )


def target_names() -> tuple[str, ...]:
    """All names of the catalogue: of boards, and of what this machine runs."""
    return tuple(name for target in TARGETS for name in target.names)


def check_target(name: str) -> None:
    """Raise `ConfigError` unless firmware can be run there: a connection, or emulated here."""
    if is_connection(name):
        return
    row = find_target(name)
    if row.runs_as == name or (names_file(name) and row.qemu is not None):
        return
    emulated = f", or give {row.runs_as}, which emulates it" if row.runs_as else ""
    raise ConfigError(
        f"{name} is a board: build or flash its firmware and give its port, serial:PORT{emulated}"
    )


def check_runs(name: str) -> None:
    """As `check_target`, and raise `ToolchainError` where the emulator is not installed."""
    check_target(name)
    if is_connection(name):
        return
    row = find_target(name)
    if row.qemu is not None:
        from tesla_host.link.qemu import find_qemu

        find_qemu(row.qemu.program)
    elif row.unicorn:
        import_module("tesla_host.emulator.machine")


def open_target(name: str, elf: Path | None = None, *, baud: int = 115_200) -> Pipe:
    """Start `elf` on a target, or connect to a board where it runs already.

    Raises `ConfigError` for an unknown name and for a board, `DeviceError` when it does not start
    or connect, `ToolchainError` when the emulator is not installed.
    """
    if is_connection(name):
        return Port(name, baud).open()
    check_target(name)
    if elf is None:
        raise ConfigError(f"target {name} needs a firmware: give its ELF file")
    return start(find_target(name), elf)


def start(target: Target, elf: Path) -> Pipe:
    """Start `elf` where this machine runs that row, by whichever of its names it was found.

    Raises `ConfigError` for a board that nothing emulates, else what `open_target` raises.
    """
    if target.runs_as is None and target.qemu is None:
        raise ConfigError(f"{target.name} is a board that nothing emulates; choose another target")
    if target.core is None:
        return ProcessPipe([str(elf.resolve())])
    if target.qemu is not None:
        from tesla_host.link.qemu import QemuPipe

        return QemuPipe(target.qemu, elf)
    from tesla_host.emulator.machine import Machine  # Unicorn is optional

    return Machine(elf, target)


def open_link(
    name: str,
    elf: Path | None = None,
    expected: ExpectedModel | None = None,
    *,
    baud: int = 115_200,
) -> LinkClient:
    """As `open_target`, with the client that speaks to it; `auto` needs `expected`.

    A connection that breaks is opened again.
    """
    if not is_connection(name):
        return LinkClient(open_target(name, elf), expected)
    if name == AUTO:
        if expected is None:
            raise ConfigError("target auto looks for the board of a model; name the port")
        name = _the_one(find_boards(expected, baud), expected)
    port = Port(name, baud)
    return LinkClient(port.open(), expected, baud=baud, reopen=port.open)


def _the_one(found: list[str], expected: ExpectedModel) -> str:
    if len(found) > 1:
        raise ConfigError(
            f"{len(found)} boards run {expected.name}: {', '.join(found)}; name one of them"
        )
    return found[0]
