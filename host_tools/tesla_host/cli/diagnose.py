"""The verb `diagnose`: where quantisation hurts, and what to try."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_host.cli.options import ALL_REGIONS, DataOption, parse_dp_list
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tesla_embed.data import DataSet
    from tesla_embed.ir.graph import Model
    from tesla_embed.quant.diagnose import Diagnosis, LayerNoise

DIAGNOSIS_SCHEMA = "tesla-embed/diagnosis/1"


def diagnose(
    file: Annotated[Path, typer.Argument(help="integer model, or checkpoint that train wrote")],
    data: DataOption,
    against: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="the float network that a model was made from"),
    ] = None,
    regions: Annotated[
        str | None, typer.Option(show_default=ALL_REGIONS, help="of a checkpoint: DP percentages")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="test examples to look at")] = 256,
    dp: Annotated[
        int | None, typer.Option(help="show all layers of this region, not each in its worst")
    ] = None,
    json_: JsonOption = None,
) -> None:
    """Show noise, saturation and starved channels of every layer and region, and what to try.

    A checkpoint is quantised with the defaults first. A model alone is compared with its own
    weights: only the rounding of activations shows then.

    Example: tesla-embed diagnose m.safetensors --data digits --against runs/m/model.safetensors
    """
    import msgspec

    from tesla_embed.data import load_data
    from tesla_embed.quant.diagnose import diagnose as run_diagnosis
    from tesla_host.cli.terminal import progress

    check_json(json_, file, against)
    dataset = load_data(data)
    with progress("diagnosing"):
        plain, model, reference = _models(file, against, dataset, regions)
        if dp is not None:
            model.region(dp)
        found = run_diagnosis(plain, model, _examples(model, dataset, samples))
    content = {"schema": DIAGNOSIS_SCHEMA, "model": model.name, "reference": reference}
    content |= msgspec.to_builtins(found)
    present(json_, content, lambda: _print(found, reference, dp))


def _examples(model: "Model", data: "DataSet", samples: int) -> "npt.NDArray[np.float32]":
    """The first test examples, as the model takes them."""
    from tesla_embed.errors import ConfigError

    type_ = model.graph.tensors[model.graph.input].type
    examples = data.test.floats(slice(0, samples))
    if examples[0].size != type_.size:
        raise ConfigError(
            f"{model.name} takes examples of shape {type_.shape}, the data have "
            f"{examples.shape[1:]}; use the data set it was trained on"
        )
    return examples.reshape(len(examples), *type_.shape)


def _models(
    file: Path, against: Path | None, data: "DataSet", regions: str | None
) -> "tuple[Model, Model, str]":
    """The float model, the integer one, and what the float one is."""
    from tesla_embed.errors import ConfigError
    from tesla_embed.ir.store import METADATA_KEY, load_model, read_safetensors, read_schema

    schema = read_schema(read_safetensors(file)[1].get(METADATA_KEY, "{}"))
    integers = schema.startswith("tesla-embed/model/")
    if not integers and against is not None:
        raise ConfigError(f"{file} is no integer model; --against is for one")
    if integers and regions is not None:
        raise ConfigError(f"{file} has its own regions; --regions is for a checkpoint")
    model = load_model(file) if integers else None
    if model is not None and against is None:
        from tesla_embed.quant.diagnose import dequantized

        return dequantized(model), model, "the model's own weights"
    from tesla_host.cli.terminal import need_torch

    need_torch()
    from tesla_embed.quant import QuantizeOptions, quantize_checkpoint
    from tesla_embed.quant.pipeline import prepare
    from tesla_embed.train.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(against or file)
    if model is None:
        dps = parse_dp_list(regions or ALL_REGIONS)
        model = quantize_checkpoint(checkpoint, data, dps, QuantizeOptions())
    known = model.provenance
    if not known.calibration_samples or known.test_fingerprint != data.test.fingerprint():
        raise ConfigError(
            f"{file} was not quantised on {data.name}, so its scales cannot be told from noise; "
            "give the data that quantize was given, or leave --against out"
        )
    dps = tuple(region.dp for region in model.regions)
    plain, _ = prepare(checkpoint.network, data, model.name, dps, known.calibration_samples)
    return plain, model, "the float network"


def _print(found: "Diagnosis", reference: str, dp: int | None) -> None:
    """Every layer in its worst region, or in the one asked for, then advice."""
    from rich.table import Table

    from tesla_host.cli.terminal import console

    worst: dict[str, LayerNoise] = {}
    for one in found.layers:
        if dp not in (None, one.dp):
            continue
        if one.layer not in worst or one.own_db < worst[one.layer].own_db:
            worst[one.layer] = one
    which = "in its worst region" if dp is None else f"at {dp} % DP"
    table = Table(caption=f"each layer {which}, compared with {reference}")
    for heading in ("layer", "bits", "DP %", "dB", "own dB", "saturated", "starved", "dead"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for one in worst.values():
        starved, dead = (f"{count} of {one.channels}" for count in (one.starved, one.dead))
        decibels = (f"{value:.1f}" for value in (one.sqnr_db, one.own_db))
        table.add_row(
            one.layer, str(one.bits), str(one.dp), *decibels, f"{one.saturated:.2%}", starved, dead
        )
    console().print(table)
    print(f"look first at {', '.join(found.first)}")
    for text in found.advice:
        print(f"- {text}")
