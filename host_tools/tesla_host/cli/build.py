"""Verbs around toolchains: `build`, `targets` and `doctor`."""

from pathlib import Path
from typing import Annotated

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


def build(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="folder for the C project and firmware.elf")],
    target: TargetOption = "emulator",
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    app: AppOption = "link",
    benchmark: BenchmarkOption = None,
) -> None:
    """Generate the C project of a model and compile the firmware of a target.

    Example: tesla-embed build m.safetensors --target emulator --out build/m
    """
    from tesla_codegen.project import generate
    from tesla_embed.errors import ConfigError
    from tesla_embed.ir.store import load_model
    from tesla_host.apps import choose_app
    from tesla_host.build import build_firmware, choose_toolchain
    from tesla_host.cli.estimate import write_estimate
    from tesla_host.cli.terminal import progress
    from tesla_host.targets import find_target, is_connection

    if is_connection(target):
        raise ConfigError(f"{target} is a connection to running firmware; build for a board's name")
    loaded, chosen = load_model(model), find_target(target)
    choose_toolchain(chosen, toolchain)
    application = choose_app(app, loaded, benchmark)
    with progress("building") as observer:
        generate(loaded, out / "project", isa=chosen.isa, optimize=optimize)
        observer(f"for {chosen.name}", 0.2)
        result = build_firmware(out / "project", chosen, out, toolchain=toolchain, app=application)
    print(
        f"{result.elf}: flash {result.flash_bytes:,} B, RAM {result.ram_bytes:,} B, "
        f"{result.compiler}"
    )
    if (
        told := write_estimate(loaded, chosen, toolchain, optimize, out / "estimate.json")
    ) is not None:
        print(told)


def targets() -> None:
    """List where firmware can run, and how far each target has been tried.

    Example: tesla-embed targets
    """
    from rich.table import Table

    from tesla_host.cli.terminal import console
    from tesla_host.targets import TARGETS

    table = Table()
    for heading in ("target", "cpu", "clock", "toolchains", "status"):
        table.add_column(heading)
    for target in TARGETS:
        clock = f"{target.clock_hz / 1e6:g} MHz" if target.clock_hz else ""
        table.add_row(target.name, target.cpu, clock, " ".join(target.toolchains), target.status)
    console().print(table)


def doctor() -> None:
    """Tell what is installed, what is missing, and the command that mends it.

    Ends with code 3 when something is missing that the usual way needs.

    Example: tesla-embed doctor
    """
    from tesla_host.doctor import examine

    findings = examine()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        state = finding.version or ("not installed" if finding.optional else "MISSING")
        mend = "" if finding.version else f"; {finding.mend}"
        print(f"{finding.name:<{width}}  {state}  ({finding.purpose}){mend}")
    if any(finding.version is None and not finding.optional for finding in findings):
        raise typer.Exit(3)
