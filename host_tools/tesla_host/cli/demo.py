"""The whole pipeline in one verb, from real data to a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_host.cli.options import ALL_REGIONS, ToolchainOption, parse_dp_list
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_embed.data import DataSet
    from tesla_embed.ir.graph import Model
    from tesla_embed.train.loop import EpochDone
    from tesla_host.results import Profile, Verification

DEMO_SCHEMA = "tesla-embed/demo/1"
RECIPE = "digits-cnn"


def demo(
    data: Annotated[str, typer.Option(metavar="SPEC", help="data set")] = "digits",
    out: Annotated[Path, typer.Option(help="folder for everything")] = Path("build/demo"),
    recipe: Annotated[str, typer.Option(help="what to train")] = RECIPE,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change the recipe")
    ] = None,
    regions: Annotated[str, typer.Option(help="DP percentages")] = ALL_REGIONS,
    target: Annotated[str, typer.Option(help="where it runs")] = "emulator",
    toolchain: ToolchainOption = None,
    device_samples: Annotated[int, typer.Option(min=1, help="samples through the link")] = 20,
    json_: JsonOption = None,
) -> None:
    """Train, quantise, compile, emulate, measure and report, with one command.

    Example: tesla-embed demo --data idx:mnist --recipe mnist-mlp --out build/mnist
    """
    from tesla_host.cli.terminal import need_torch, print_profile, print_verification

    need_torch()
    check_json(json_)
    dps = parse_dp_list(regions)
    model, dataset = _train_and_quantise(recipe, set_ or [], data, dps, out)
    verification, measured = _measure(model, dataset, (target, toolchain), device_samples, out)

    def show() -> None:
        print_verification(verification)
        print_profile(measured)
        print(f"open {out / 'report.html'}")

    both = {"verification": verification, "profile": measured, "report": out / "report.html"}
    present(json_, {"schema": DEMO_SCHEMA, **both}, show)
    if not verification.bit_exact or not all(region.bit_exact for region in measured.regions):
        raise typer.Exit(1)


def _train_and_quantise(
    recipe: str, overrides: list[str], data: str, dps: tuple[int, ...], out: Path
) -> "tuple[Model, DataSet]":
    """Train by a recipe in `out/train` and write `out/model.safetensors`."""
    from tesla_embed.data import load_data
    from tesla_embed.ir.store import save_model
    from tesla_embed.quant import quantize_checkpoint
    from tesla_embed.train.checkpoint import load_checkpoint
    from tesla_embed.train.loop import train
    from tesla_embed.train.recipe import load_recipe
    from tesla_host.cli.terminal import progress

    chosen, dataset = load_recipe(recipe, overrides), load_data(data)
    with progress(f"training {chosen.name}") as observer:

        def show(event: "EpochDone") -> None:
            observer(f"{event.stage}, validation {event.accuracy:.2%}", event.fraction)

        trained = train(chosen, dataset, out / "train", show)
    with progress("quantising"):
        model = quantize_checkpoint(load_checkpoint(trained.path), dataset, dps)
        save_model(out / "model.safetensors", model)
    return model, dataset


def _measure(
    model: "Model", data: "DataSet", target: tuple[str, str | None], device_samples: int, out: Path
) -> "tuple[Verification, Profile]":
    """Build, verify and profile a model, and write the results and the report."""
    from tesla_host.cli.terminal import progress
    from tesla_host.profiler import load_samples, profile_bench
    from tesla_host.report import write_report
    from tesla_host.results import write_json
    from tesla_host.verifier import random_inputs, verify_bench
    from tesla_host.workbench import set_up

    with progress("compiling"):
        bench = set_up(model, target[0], out, target[1])
    with progress("verifying") as observer:
        verification = verify_bench(bench, random_inputs(model, 16), 2, observer)
    with progress("profiling") as observer:
        samples = load_samples(model, data)
        profile = profile_bench(bench, data, samples, device_samples, model.regions, observer)
    with progress("reporting"):
        write_json(out / "verify.json", verification)
        write_json(out / "profile.json", profile)
        write_report(profile, out / "report.html")
    return verification, profile
