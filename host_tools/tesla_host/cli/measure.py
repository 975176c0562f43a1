"""Verbs that measure a model: `profile` and `verify`."""

from pathlib import Path
from typing import Annotated

import typer

from tesla_host.cli.completion import complete_target
from tesla_host.cli.options import DataOption, ModelArgument, build_folder, parse_dp_list

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
JsonOption = Annotated[Path | None, typer.Option("--json", help="also write the result here")]


def profile(
    model: ModelArgument,
    data: DataOption,
    target: TargetOption = "emulator",
    samples: Annotated[int | None, typer.Option(min=1, help="test samples; default: all")] = None,
    device_samples: Annotated[
        int, typer.Option(min=1, help="how many of them also go through the link")
    ] = 20,
    regions: Annotated[str | None, typer.Option(help="DP percentages; default: all")] = None,
    json_: JsonOption = None,
    build_dir: BuildOption = None,
) -> None:
    """Measure accuracy, cost and memory of every operating region on a target.

    Example: tesla-embed profile m.safetensors --target emulator --data digits --json p.json
    """
    from tesla_embed.atomic import check_writable
    from tesla_embed.data import load_data
    from tesla_embed.ir.store import load_model
    from tesla_host.cli.terminal import print_profile, progress
    from tesla_host.profiler import load_samples, profile_bench
    from tesla_host.results import write_json
    from tesla_host.workbench import set_up

    if json_ is not None:
        check_writable(json_)
    loaded = load_model(model)
    chosen = (
        loaded.regions
        if regions is None
        else tuple(loaded.region(dp) for dp in parse_dp_list(regions))
    )
    dataset = load_data(data)
    tests = load_samples(loaded, dataset, samples)
    with progress("profiling") as observer, build_folder(build_dir) as folder:
        observer("building", 0.0)
        bench = set_up(loaded, target, folder)
        result = profile_bench(bench, dataset, tests, device_samples, chosen, observer)
    if json_ is not None:
        write_json(json_, result)
    print_profile(result)
    if not all(region.bit_exact for region in result.regions):
        raise typer.Exit(1)


def verify(
    model: ModelArgument,
    target: TargetOption = "emulator",
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
    from tesla_embed.atomic import check_writable
    from tesla_embed.ir.store import load_model
    from tesla_host.cli.terminal import print_verification, progress
    from tesla_host.original import load_original
    from tesla_host.results import write_json
    from tesla_host.verifier import random_inputs, verify_bench
    from tesla_host.workbench import set_up

    if json_ is not None:
        check_writable(json_)
    loaded = load_model(model)
    source = None if original is None else load_original(original, loaded)
    inputs = random_inputs(loaded, samples)
    with progress("verifying") as observer, build_folder(build_dir) as folder:
        observer("building", 0.0)
        bench = set_up(loaded, target, folder)
        result = verify_bench(bench, inputs, device_samples, observer, source)
    if json_ is not None:
        write_json(json_, result)
    print_verification(result)
    if not result.bit_exact:
        raise typer.Exit(1)
