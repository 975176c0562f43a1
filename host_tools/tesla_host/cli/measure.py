"""Verbs that measure a model: `profile` and `verify`."""

from pathlib import Path
from typing import Annotated

import typer

from tesla_codegen.kernels.variant import Optimize
from tesla_host.cli.completion import complete_target
from tesla_host.cli.options import (
    DataOption,
    ModelArgument,
    OptimizeOption,
    ToolchainOption,
    build_folder,
)
from tesla_host.cli.verb import JsonOption, check_json, present

TargetOption = Annotated[
    str,
    typer.Option(
        help="where it runs; `tesla-embed targets` lists them", autocompletion=complete_target
    ),
]
BuildOption = Annotated[
    Path | None,
    typer.Option("--build-dir", help="keep what is built in this folder, and reuse it"),
]
PortOption = Annotated[
    list[str] | None, typer.Option(help="board that runs the model already, or auto; repeatable")
]
BoardsOption = Annotated[int, typer.Option(min=1, help="how many of the target share the work")]
DaskOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="share it among a scheduler's workers")
]
ResultsOption = Annotated[
    Path | None, typer.Option(help="file that grows by each measurement, and is continued")
]
CompareOption = Annotated[
    Path | None, typer.Option(help="earlier --json; show what got worse", metavar="OLD.json")
]
FailOption = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="with --compare: exit 1 if worse by more, e.g. 2%"),
]
DeviceSamplesOption = Annotated[
    int, typer.Option(min=1, help="how many of them also go through the link")
]


def profile(
    model: ModelArgument,
    data: DataOption,
    target: TargetOption = "emulator",
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    port: PortOption = None,
    boards: BoardsOption = 1,
    dask: DaskOption = None,
    baud: Annotated[int, typer.Option(min=300, help="of serial ports")] = 115_200,
    samples: Annotated[int | None, typer.Option(min=1, help="test samples; default: all")] = None,
    device_samples: DeviceSamplesOption = 20,
    runs: Annotated[int, typer.Option(min=1, help="how often each of those runs")] = 1,
    regions: Annotated[str | None, typer.Option(help="DP percentages; default: all")] = None,
    json_: JsonOption = None,
    results: ResultsOption = None,
    compare: CompareOption = None,
    fail_above: FailOption = None,
    build_dir: BuildOption = None,
) -> None:
    """Measure accuracy, cost and memory of every operating region on a target.

    With --json FILE, what an interrupted run has measured is kept in FILE.partial, and the same
    command continues it.

    Example: tesla-embed profile m.safetensors --target emulator --data digits --json p.json
    """
    from tesla_host.cli.profile import Request, run_profile

    request = Request(
        model=model, data=data, target=target, toolchain=toolchain, optimize=optimize,
        ports=tuple(port or ()), boards=boards, dask=dask, baud=baud, samples=samples,
        device_samples=device_samples, runs=runs, regions=regions, json=json_, results=results,
        compare=compare, fail_above=fail_above, build_dir=build_dir,
    )  # fmt: skip
    if run_profile(request):  # it is worse than what it was compared with
        raise typer.Exit(1)


def verify(
    model: ModelArgument,
    target: TargetOption = "emulator",
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    samples: Annotated[int, typer.Option(min=1, help="random inputs per region")] = 64,
    device_samples: Annotated[
        int, typer.Option(min=1, help="how many of them also go through the link")
    ] = 8,
    original: Annotated[
        Path | None, typer.Option(help="the .tflite that the model was imported from")
    ] = None,
    json_: JsonOption = None,
    build_dir: BuildOption = None,
) -> None:
    """Check that interpreter, host C, target and LiteRT agree bit for bit in every region.

    Example: tesla-embed verify m.safetensors --target emulator
    """
    from tesla_embed.ir.store import load_model
    from tesla_host.cli.terminal import print_verification, progress
    from tesla_host.original import load_original
    from tesla_host.targets import check_runs
    from tesla_host.verifier import random_inputs, verify_bench
    from tesla_host.workbench import set_up

    check_json(json_, model, original)
    check_runs(target)
    loaded = load_model(model)
    source = None if original is None else load_original(original, loaded)
    inputs = random_inputs(loaded, samples)
    with progress("verifying") as observer, build_folder(build_dir) as folder:
        observer("building", 0.0)
        bench = set_up(loaded, target, folder, toolchain, optimize)
        result = verify_bench(bench, inputs, device_samples, observer, source)
    present(json_, result, lambda: print_verification(result))
    if not result.bit_exact:
        raise typer.Exit(1)
