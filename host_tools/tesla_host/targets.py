"""The catalogue of targets, and the way from a name to a running firmware.

In: a target's name (`emulator`, `host`), or a connection (`serial:PORT`, `socket://HOST:PORT`,
`rfc2217://HOST:PORT`, or `auto`: the serial port where the model runs).
Out: its row of the catalogue, or a `Pipe`. Refuses an unknown name with a `ConfigError` that lists
what exists.
"""

from dataclasses import dataclass
from pathlib import Path

from tesla_embed.errors import ConfigError
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.pipes import Pipe, ProcessPipe
from tesla_host.link.ports import AUTO, Port, find_boards, is_connection

__all__ = [
    "TARGETS",
    "Target",
    "check_target",
    "find_target",
    "is_connection",
    "open_link",
    "open_target",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One board. `board` is its folder among the firmware's boards, `compiler` the kind that
    `toolchain.find_compiler` knows; sizes in bytes, None where nothing limits them.

    `status` says honestly what was tried: `emulated`, `compile-tested`, `hardware-verified`,
    or `native` for this machine itself.
    """

    name: str
    description: str
    cpu: str
    board: str
    compiler: str
    compile_flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    linker_script: str | None
    clock_hz: int
    flash_bytes: int | None
    ram_bytes: int | None
    status: str


TARGETS = (
    Target(
        name="emulator",
        description="Cortex-M4 in this process: exact instruction counts, estimated cycles",
        cpu="Cortex-M4",
        board="emulator",
        compiler="zig",
        compile_flags=(
            "--target=thumb-freestanding-eabi",
            # Without the floating-point unit: its registers would need start-up code and gain
            # integer code nothing.
            "-mcpu=cortex_m4+soft_float",
            "-ffreestanding",
            "-DTESLA_CLOCK_HZ=168000000u",
            "-DTESLA_BOARD_RECEIVE_BYTES=32768u",
        ),
        link_flags=("--target=thumb-freestanding-eabi", "-mcpu=cortex_m4+soft_float"),
        linker_script="emulator.ld",
        # The clock of an STM32F405, a common Cortex-M4: it only turns cycles into seconds.
        clock_hz=168_000_000,
        flash_bytes=1 << 20,
        ram_bytes=256 << 10,
        status="emulated",
    ),
    Target(
        name="host",
        description="the same firmware as a process of this machine: for bulk accuracy",
        cpu="native",
        board="host",
        compiler="host",
        compile_flags=("-DTESLA_BOARD_RECEIVE_BYTES=32768u",),
        link_flags=(),
        linker_script=None,
        clock_hz=0,
        flash_bytes=None,
        ram_bytes=None,
        status="native",
    ),
)


def find_target(name: str) -> Target:
    """A row of the catalogue. Raises `ConfigError` when there is none of this name."""
    for target in TARGETS:
        if target.name == name:
            return target
    known = ", ".join(target.name for target in TARGETS)
    raise ConfigError(
        f"unknown target {name!r}; there are {known}, serial:PORT, socket://HOST:PORT, "
        "rfc2217://HOST:PORT, auto"
    )


def check_target(name: str) -> None:
    """Raise `ConfigError` unless `name` is a row of the catalogue or a connection."""
    if not is_connection(name):
        find_target(name)


def open_target(name: str, elf: Path | None = None, *, baud: int = 115_200) -> Pipe:
    """Start `elf` on a target, or connect to a board where it runs already.

    Raises `ConfigError` for an unknown name, `DeviceError` when it does not start or connect,
    `ToolchainError` when the emulator is not installed.
    """
    if is_connection(name):
        return Port(name, baud).open()
    target = find_target(name)
    if elf is None:
        raise ConfigError(f"target {name} needs a firmware: give its ELF file")
    if target.compiler == "host":
        return ProcessPipe([str(elf.resolve())])
    from tesla_host.emulator.machine import Machine  # Unicorn is optional

    assert target.flash_bytes is not None and target.ram_bytes is not None
    return Machine(
        elf,
        flash_bytes=target.flash_bytes,
        ram_bytes=target.ram_bytes,
        clock_hz=target.clock_hz,
    )


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
