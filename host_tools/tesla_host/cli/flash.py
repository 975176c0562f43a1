"""The verb that writes firmware into a board: `flash`."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_codegen.kernels.variant import Optimize
from tesla_host.cli.completion import complete_board, complete_programmer
from tesla_host.cli.options import (
    AppOption,
    BenchmarkOption,
    ToolchainOption,
)
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_host.flash.commands import Plan
    from tesla_host.flash.verify import Identity

FLASH_SCHEMA = "tesla-embed/flash/1"
_ELF_MAGIC = b"\x7fELF"


Source = Annotated[Path, typer.Argument(metavar="MODEL|ELF", help="a model, or what build made")]
Port = Annotated[str | None, typer.Option(help="the board's serial port: /dev/ttyACM0, COM3 ...")]
ProgrammerName = Annotated[
    str | None,
    typer.Option(
        help="openocd, pyocd, jlink, ...; default: what is installed",
        autocompletion=complete_programmer,
    ),
]
Board = Annotated[
    str, typer.Option(help="its name; an unknown one lists them", autocompletion=complete_board)
]
Probe = Annotated[
    str | None, typer.Option(help="serial number of one of several debug probes; of gdb, HOST:PORT")
]
Drive = Annotated[
    Path | None, typer.Option(help="where the board's UF2 drive is mounted; default: look")
]
Extra = Annotated[
    list[str] | None, typer.Option(help="a further argument of the programmer; repeatable")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the commands, touch no board")]
Verify = Annotated[bool, typer.Option(help="ask the board afterwards which model it runs")]
OptimizeOption = Annotated[
    Optimize | None,
    typer.Option(show_default="balanced", help="spend flash on speed, save it, or neither"),
]
Folder = Annotated[
    Path | None, typer.Option(help="where a model is built; default: build/MODEL-BOARD")
]


def flash(
    source: Source,
    board: Board,
    port: Port = None,
    programmer: ProgrammerName = None,
    probe: Probe = None,
    drive: Drive = None,
    baud: Annotated[int, typer.Option(help="of a boot loader on the serial port")] = 115_200,
    programmer_arg: Extra = None,
    dry_run: DryRun = False,
    verify: Verify = True,
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = None,
    app: AppOption = "link",
    benchmark: BenchmarkOption = None,
    build_dir: Folder = None,
    json_: JsonOption = None,
) -> None:
    """Write a model's firmware, or an ELF, into a board, and check that the board runs it.

    Example: tesla-embed flash m.safetensors --board nucleo-f446re --port /dev/ttyACM0

    Example: tesla-embed flash build/m/firmware.elf --board pico --dry-run
    """
    from tesla_host.flash.boards import find_flash_board
    from tesla_host.flash.commands import Wishes, make_plan, prepare

    check_json(json_, source)
    row = find_flash_board(board)
    extra = tuple(programmer_arg or ())
    wishes = Wishes(
        programmer=programmer, port=port, probe=probe, drive=drive, baud=baud, extra=extra
    )

    def check() -> None:
        prepare(row, wishes, dry=dry_run)

    elf = _elf(source, row.target, (toolchain, optimize), (app, benchmark), build_dir, check)
    plan = make_plan(elf, row, wishes, dry=dry_run)
    done = {"board": row.name, "elf": elf, "programmer": plan.programmer.name, "image": plan.image}
    document = {"schema": FLASH_SCHEMA, **done, "commands": plan.commands}
    if dry_run:
        shown = "\n".join(shlex.join(command) for command in plan.commands)
        present(json_, document | {"written": False}, lambda: print(shown))
        return
    identity, answered = _write(elf, plan, port, verify)
    line = f"{elf}: written to {row.name} by {plan.programmer.name}"
    line += f"; {answered} runs {identity.model}" if identity else ", not verified"
    document |= {"written": True, "port": answered, "model": identity and identity.model}
    present(json_, document, lambda: print(line))


def _write(
    elf: Path, plan: "Plan", port: str | None, verify: bool
) -> "tuple[Identity | None, str | None]":
    """Write, and ask the board; returns what it must run and where it said so."""
    from tesla_host.flash.run import ProgrammerFailed, run_plan
    from tesla_host.flash.verify import read_identity, verify_board

    identity = read_identity(elf) if verify else None
    print(f"{plan.programmer.name} writes {plan.image}", file=sys.stderr)
    try:
        run_plan(plan)
    except ProgrammerFailed as error:
        sys.stderr.write(error.output)
        raise
    return identity, None if identity is None else verify_board(identity, port)


def _is_elf(path: Path) -> bool:
    from tesla_embed.errors import ConfigError

    try:
        with path.open("rb") as stream:
            return stream.read(len(_ELF_MAGIC)) == _ELF_MAGIC
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error


def _elf(
    source: Path,
    target: str,
    ways: tuple[str | None, Optimize | None],
    speaks: tuple[str, str | None],
    build_dir: Path | None,
    check: Callable[[], None],
) -> Path:
    """The firmware to write: what was given, or what is built of it, once `check` agrees.

    Raises `ConfigError` for choices that an ELF leaves none of.
    """
    from tesla_embed.errors import ConfigError

    (toolchain, optimize), (app, benchmark) = ways, speaks
    if not _is_elf(source):
        chosen = (toolchain, optimize or Optimize.BALANCED)
        return _build(source, target, chosen, speaks, build_dir, check)
    given = {
        "toolchain": toolchain,
        "optimize": optimize,
        "app": None if app == "link" else app,
        "benchmark": benchmark,
        "build-dir": build_dir,
    }
    useless = [f"--{name}" for name, value in given.items() if value is not None]
    if useless:
        raise ConfigError(f"{source} is built already; {' and '.join(useless)} is for a model")
    return source


def _build(
    model: Path,
    target: str,
    ways: tuple[str | None, Optimize],
    speaks: tuple[str, str | None],
    build_dir: Path | None,
    check: Callable[[], None],
) -> Path:
    from tesla_embed.ir.store import load_model
    from tesla_host.apps import choose_app
    from tesla_host.cli.terminal import progress
    from tesla_host.targets import find_target
    from tesla_host.workbench import make_firmware

    loaded, chosen = load_model(model), find_target(target)
    app = choose_app(speaks[0], loaded, speaks[1])
    check()
    folder = build_dir or Path("build") / f"{loaded.name}-{chosen.name}"
    toolchain, optimize = ways
    with progress("building") as observer:
        return make_firmware(
            loaded, chosen, folder, toolchain=toolchain, optimize=optimize, app=app,
            observer=observer,
        ).build.elf  # fmt: skip
