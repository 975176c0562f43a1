"""Verbs that turn a checkpoint into an integer model and a model into C."""

from pathlib import Path
from typing import Annotated

import typer

from tesla_host.cli.options import ALL_REGIONS, DataOption, ModelArgument, parse_dp_list


def quantize(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors that train wrote")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="where the integer model goes")],
    regions: Annotated[str, typer.Option(help="DP percentages to support")] = ALL_REGIONS,
    samples: Annotated[int, typer.Option(min=1, help="training examples to calibrate on")] = 1000,
) -> None:
    """Quantise a trained network to int8, calibrated for each operating region.

    Example: tesla-embed quantize runs/m/model.safetensors --data digits --out m.safetensors
    """
    from tesla_host.cli.terminal import need_torch, progress

    need_torch()
    from tesla_embed.atomic import check_writable
    from tesla_embed.data import load_data
    from tesla_embed.ir.store import digest, save_model
    from tesla_embed.quant import quantize_checkpoint
    from tesla_embed.train.checkpoint import load_checkpoint

    dps = parse_dp_list(regions)
    check_writable(out)
    loaded, dataset = load_checkpoint(checkpoint), load_data(data)
    with progress("quantising"):
        model = quantize_checkpoint(loaded, dataset, dps, samples)
        save_model(out, model)
    print(f"{out}: {model.name}, {len(model.regions)} regions, digest {digest(model)[:16]}")


def generate(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="folder of the C project; replaced if generated")],
) -> None:
    """Write a model as a C99 library with one copy of the weights and a run-time DP switch.

    Example: tesla-embed generate m.safetensors --out build/m
    """
    from tesla_codegen.project import generate as write_project
    from tesla_embed.ir.store import load_model

    project = write_project(load_model(model), out)
    print(
        f"{out}: library {project.prefix}, weights {project.weights_bytes:,} B, "
        f"region tables {project.region_table_bytes:,} B, arena {project.arena_bytes:,} B"
    )
