"""Verbs around targets: `build` and `targets`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_codegen.kernels.variant import Optimize
from tesla_host.cli.measure import TargetOption
from tesla_host.cli.options import (
    AppOption,
    BenchmarkOption,
    ModelArgument,
    OptimizeOption,
    ToolchainOption,
)
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_host.catalogue import Target

BUILD_SCHEMA = "tesla-embed/build/1"
TARGETS_SCHEMA = "tesla-embed/targets/1"
_ESTIMATE = "estimate.json"


def build(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="folder for the C project and firmware.elf")],
    target: TargetOption = "emulator",
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    app: AppOption = "link",
    benchmark: BenchmarkOption = None,
    json_: JsonOption = None,
) -> None:
    """Generate the C project of a model and compile the firmware of a target.

    Example: tesla-embed build m.safetensors --target emulator --out build/m
    """
    from tesla_embed.errors import ConfigError
    from tesla_embed.ir.store import load_model
    from tesla_host.apps import choose_app
    from tesla_host.cli.estimate import write_estimate
    from tesla_host.cli.terminal import progress
    from tesla_host.targets import find_target, is_connection
    from tesla_host.workbench import make_firmware

    if is_connection(target):
        raise ConfigError(f"{target} is a connection to running firmware; build for a board's name")
    check_json(json_, model)
    loaded, chosen = load_model(model), find_target(target)
    application = choose_app(app, loaded, benchmark)
    with progress("building") as observer:
        result = make_firmware(
            loaded, chosen, out, toolchain=toolchain, optimize=optimize, app=application,
            beside=(_ESTIMATE,), observer=observer,
        ).build  # fmt: skip
    line = (
        f"{result.elf}: flash {result.flash_bytes:,} B, RAM {result.ram_bytes:,} B, "
        f"{result.compiler}"
    )
    told = write_estimate(loaded, chosen, toolchain, optimize, out / _ESTIMATE)
    line += f"\n{told}" if told else ""
    known = ("elf", "compiler", "flash_bytes", "ram_bytes", "stack_bytes", "sections")
    document = {"schema": BUILD_SCHEMA, "model": loaded.name, "target": chosen.name}
    present(json_, document | {name: getattr(result, name) for name in known}, lambda: print(line))


def targets(json_: JsonOption = None) -> None:
    """List where firmware can run, and how far each target has been tried.

    emulated: its firmware runs in QEMU or Unicorn, bit for bit; compile-tested: its firmware is
    built, and runs against a model of the chip's registers, but never ran on the chip;
    hardware-verified: it has run on the board.

    Example: tesla-embed targets
    """
    from tesla_host.targets import TARGETS

    known = ("name", "description", "cpu", "clock_hz", "toolchains", "runs_as", "status")
    rows = [{name: getattr(target, name) for name in known} for target in TARGETS]
    check_json(json_)
    present(json_, {"schema": TARGETS_SCHEMA, "targets": rows}, lambda: _print_targets(TARGETS))


def _print_targets(targets: "Sequence[Target]") -> None:
    from rich.table import Table

    from tesla_host.cli.terminal import console

    table = Table()
    for heading in ("target", "cpu", "clock", "toolchains", "runs as", "status"):
        table.add_column(heading)
    for target in targets:
        clock = f"{target.clock_hz / 1e6:g} MHz" if target.clock_hz else ""
        kinds, runs_as = " ".join(target.toolchains), target.runs_as or "serial:PORT"
        table.add_row(target.name, target.cpu, clock, kinds, runs_as, target.status)
    console().print(table)
    verified = [target.name for target in targets if target.status == "hardware-verified"]
    print(f"hardware-verified: {', '.join(verified) or 'none yet'}")
