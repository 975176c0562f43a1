"""The verb `estimate`, and `bench fit` and `bench estimate`, which make and judge its numbers."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_codegen.kernels.variant import Optimize
from tesla_host.cli.foreign import DpOption
from tesla_host.cli.measure import BuildOption, TargetOption
from tesla_host.cli.options import (
    ModelArgument,
    OptimizeOption,
    ToolchainOption,
    ToolchainsOption,
    build_folder,
)
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_embed.ir.graph import Model
    from tesla_host.estimate.coefficients import Coefficients
    from tesla_host.estimate.comparison import Comparison, LayerError
    from tesla_host.estimate.estimate import Estimate, LayerEstimate
    from tesla_host.targets import Target


def estimate(
    model: ModelArgument,
    target: TargetOption = "emulator",
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    dp: DpOption = None,
    json_: JsonOption = None,
) -> None:
    """Tell instructions, flash and RAM of a model on a target, without building anything.

    Example: tesla-embed estimate m.safetensors --target qemu:mps3-an547 --toolchain gcc
    """
    from tesla_embed.ir.store import load_model
    from tesla_host.estimate.estimate import estimate_model
    from tesla_host.targets import find_target

    check_json(json_, model)
    row = find_target(target)
    loaded = load_model(model)
    chosen = loaded.regions[-1].dp if dp is None else loaded.region(dp).dp
    found = estimate_model(loaded, row, toolchain, optimize=optimize)
    present(json_, found, lambda: _print_estimate(found, chosen))


def write_estimate(
    model: "Model", target: "Target", toolchain: str | None, optimize: Optimize, out: Path
) -> str | None:
    """Write the estimate of a model beside its firmware; one line about it, or about why there is
    none: then an earlier one is removed. `None` for a target that counts no instructions."""
    from tesla_embed.errors import ConfigError
    from tesla_host.estimate.estimate import estimate_model
    from tesla_host.results import write_json

    try:
        found = estimate_model(model, target, toolchain, optimize=optimize)
    except ConfigError as error:
        out.unlink(missing_ok=True)
        return f"no {out.name}: {error}" if target.core else None
    write_json(out, found)
    totals = [region.instructions for region in found.regions]
    known = [total for total in totals if total is not None]
    if len(known) < len(totals):
        return f"{out}: not measured: {', '.join(found.unmeasured)}; run tesla-embed bench fit"
    least, most = (f"{number:,}" for number in (min(known), max(known)))
    runs = most if least == most else f"{least} to {most}"
    return f"{out}: a run takes {runs} instructions by estimate"


def fit(
    target: TargetOption = "emulator",
    toolchain: ToolchainsOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="where coefficients go; default: into the package"),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.1, max=10, help="of the usual number of networks")
    ] = 1.0,
    json_: JsonOption = None,
) -> None:
    """Measure what `estimate` predicts from: every kernel, on small random networks.

    Takes some ten minutes for a CPU, a toolchain and what is optimised for. Kernels that changed
    need it. --out and --json take one toolchain.

    Example: tesla-embed bench fit --target emulator --toolchain gcc
    """
    from tesla_embed.atomic import check_writable
    from tesla_embed.errors import ConfigError
    from tesla_host.cli.terminal import progress
    from tesla_host.estimate.campaign import measure_coefficients
    from tesla_host.estimate.coefficients import data_file, save_coefficients
    from tesla_host.targets import check_target, find_target

    check_target(target)
    row = find_target(target)
    kinds = list(dict.fromkeys(toolchain or [row.compiler]))
    if len(kinds) > 1 and (out is not None or json_ is not None):
        raise ConfigError("--out and --json take one toolchain; give --toolchain once")
    places = {kind: out or data_file(row, kind, optimize) for kind in kinds}
    for place in places.values():
        check_writable(place)
    check_json(json_)
    for kind, place in places.items():
        with progress(f"measuring kernels on {row.cpu} by {kind}") as observer:
            found = measure_coefficients(row, kind, share, observer, optimize)
        save_coefficients(place, found)
        present(json_, found, partial(_print_fit, found, place))


def _print_fit(found: "Coefficients", place: Path) -> None:
    for name, cost in found.kernels.items():
        ranged = f", {cost.low:.2f} to {cost.high:.2f} by the data" if cost.low < cost.high else ""
        print(
            f"{name:<34} {cost.observations:>5} layers, worst {cost.worst:.2%}, "
            f"median {cost.median:.3%}{ranged}"
        )
    print(f"{place}: {len(found.kernels)} kernels, {found.cpu}, {found.compiler}")


def bench_estimate(
    models: Annotated[list[Path], typer.Argument(help="integer models that quantize wrote")],
    target: TargetOption = "emulator",
    toolchain: ToolchainsOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    json_: JsonOption = None,
    build_dir: BuildOption = None,
) -> None:
    """Build and run models, and tell how far off each layer's estimate is.

    Ends with code 1 if a layer is off by more than 3 %.

    Example: tesla-embed bench estimate m.safetensors --toolchain gcc
    """
    from tesla_embed.ir.store import load_model
    from tesla_host.build import choose_toolchain
    from tesla_host.cli.terminal import progress
    from tesla_host.estimate.comparison import ALLOWED, SCHEMA, measure_estimate
    from tesla_host.targets import check_target, find_target

    check_json(json_, *models)
    check_target(target)
    row = find_target(target)
    kinds = [choose_toolchain(row, kind) for kind in dict.fromkeys(toolchain or [row.compiler])]
    work = list(itertools.product(models, kinds))
    found = []
    for number, (path, kind) in enumerate(work):
        loaded = load_model(path)
        with progress(f"measuring {loaded.name}") as observer, build_folder(build_dir) as folder:
            observer(kind, number / len(work))
            found.append(measure_estimate(loaded, row, kind, folder, optimize))
    present(json_, {"schema": SCHEMA, "models": found}, lambda: _print_comparisons(found))
    if any(one.worst is None or one.worst > ALLOWED for one in found):
        raise typer.Exit(1)


def _print_estimate(found: "Estimate", dp: int) -> None:
    """The layers of one region, all regions, and the sizes."""
    from rich import box
    from rich.table import Table

    from tesla_host.cli.terminal import console

    region = next(region for region in found.regions if region.dp == dp)
    flash = {entry.name: entry.weights_bytes + entry.tables_bytes for entry in found.flash}
    table = Table(title=f"{found.model} at {dp} % DP on {found.target}", box=box.SIMPLE_HEAD)
    for heading in ("layer", "kernel", "instructions", "flash B"):
        table.add_column(heading, justify="left" if heading in ("layer", "kernel") else "right")
    for layer in region.layers:
        table.add_row(layer.name, layer.kernel, _range(layer), f"{flash[layer.name]:,}")
    console().print(table)
    for entry in found.regions:
        total = "unknown" if entry.instructions is None else f"{entry.instructions:,}"
        print(f"{entry.dp:>3} % DP: {total} instructions")
    print(
        f"flash {_bytes(found.flash_bytes)} (weights {found.weights_bytes:,} B, region tables "
        f"{found.region_table_bytes:,} B, kernels {found.kernels_bytes:,} B)\n"
        f"RAM {_bytes(found.ram_bytes)} (arena {found.arena_bytes:,} B); the library takes "
        f"{_bytes(found.stack_bytes)} of stack at most\n"
        f"from measurements on {found.cpu} with {found.compiler}"
    )
    if found.unmeasured:
        print(f"not measured: {', '.join(found.unmeasured)}; run tesla-embed bench fit")


def _range(layer: "LayerEstimate") -> str:
    if layer.instructions is None:
        return "unknown"
    if layer.low == layer.high:
        return f"{layer.instructions:,}"
    return f"{layer.low:,} … {layer.high:,}"


def _bytes(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,} B"


def _print_comparisons(found: "Sequence[Comparison]") -> None:
    for one in found:
        _print_comparison(one)


def _print_comparison(found: "Comparison") -> None:
    """Every layer in its worst region, then all regions and the sizes."""
    from rich import box
    from rich.table import Table

    from tesla_host.cli.terminal import console

    worst: dict[str, LayerError] = {}
    for layer in found.layers:
        known = worst.get(layer.layer)
        if known is None or abs(layer.error or 0) > abs(known.error or 0):
            worst[layer.layer] = layer
    table = Table(title=f"{found.model} on {found.target}, {found.compiler}", box=box.SIMPLE_HEAD)
    for heading in ("layer, where it is worst", "kernel", "DP %", "estimate", "measured", "error"):
        table.add_column(heading, justify="left" if heading[0] in "lk" else "right")
    for layer in worst.values():
        predicted = "unknown" if layer.predicted is None else f"{layer.predicted:,}"
        error = "" if layer.error is None else f"{layer.error:+.2%}"
        numbers = (str(layer.dp), predicted, f"{layer.measured:,}", error)
        table.add_row(layer.layer, layer.kernel, *numbers)
    console().print(table)
    totals = ", ".join(
        f"{dp} %: {'unknown' if error is None else f'{error:+.2%}'}"
        for dp, error in found.regions.items()
    )
    print(f"all layers by DP: {totals}")
    if found.worst is not None and found.median is not None:
        print(f"worst layer {found.worst:.2%}, median {found.median:.3%}")
    for name, guess, truth in (
        ("flash", found.flash_predicted, found.flash_measured),
        ("RAM", found.ram_predicted, found.ram_measured),
    ):
        if guess is not None and truth:
            print(f"{name} {guess:,} B of {truth:,} B, {guess / truth - 1:+.2%}")
    if found.estimated_for != found.compiler:
        print(f"the estimate is for {found.estimated_for}")
