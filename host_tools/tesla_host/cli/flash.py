"""The verb that writes firmware into a board: `flash`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_host.cli.completion import complete_board, complete_programmer
from tesla_host.cli.options import AppOption, BenchmarkOption

if TYPE_CHECKING:
    from tesla_host.flash.commands import Plan

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
    app: AppOption = "link",
    benchmark: BenchmarkOption = None,
    build_dir: Folder = None,
) -> None:
    """Write a model's firmware, or an ELF, into a board, and check that the board runs it.

    Example: tesla-embed flash m.safetensors --board nucleo-f446re --port /dev/ttyACM0
    """
    from tesla_host.flash.boards import find_flash_board
    from tesla_host.flash.commands import Wishes, make_plan

    row = find_flash_board(board)
    elf = source if _is_elf(source) else _build(source, row.target, app, benchmark, build_dir)
    extra = tuple(programmer_arg or ())
    wishes = Wishes(
        programmer=programmer, port=port, probe=probe, drive=drive, baud=baud, extra=extra
    )
    plan = make_plan(elf, row, wishes, dry=dry_run)
    if dry_run:
        print("\n".join(shlex.join(command) for command in plan.commands))
        return
    print(_write(elf, row.name, plan, port, verify))


def _write(elf: Path, board: str, plan: "Plan", port: str | None, verify: bool) -> str:
    """Write and verify; returns what was done."""
    from tesla_host.flash.run import ProgrammerFailed, run_plan
    from tesla_host.flash.verify import read_identity, verify_board

    identity = read_identity(elf) if verify else None
    print(f"{plan.programmer.name} writes {plan.image}", file=sys.stderr)
    try:
        run_plan(plan)
    except ProgrammerFailed as error:
        sys.stderr.write(error.output)
        raise
    done = f"{elf}: written to {board} by {plan.programmer.name}"
    if identity is None:
        return f"{done}, not verified"
    return f"{done}; {verify_board(identity, port)} runs {identity.model}"


def _is_elf(path: Path) -> bool:
    from tesla_embed.errors import ConfigError

    try:
        with path.open("rb") as stream:
            return stream.read(len(_ELF_MAGIC)) == _ELF_MAGIC
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error


def _build(
    model: Path, target: str, app: str, benchmark: str | None, build_dir: Path | None
) -> Path:
    from tesla_codegen.project import generate
    from tesla_embed.ir.store import load_model
    from tesla_host.apps import choose_app
    from tesla_host.build import build_firmware
    from tesla_host.cli.terminal import progress
    from tesla_host.targets import find_target

    loaded, chosen = load_model(model), find_target(target)
    application = choose_app(app, loaded, benchmark)
    folder = build_dir or Path("build") / f"{loaded.name}-{chosen.name}"
    with progress("building") as observer:
        generate(loaded, folder / "project", isa=chosen.isa)
        observer(f"for {chosen.name}", 0.2)
        return build_firmware(folder / "project", chosen, folder, app=application).elf
