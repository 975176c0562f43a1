"""The verb that turns a checkpoint into an integer model."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tesla_host.cli import quantize_options as choices
from tesla_host.cli.options import ALL_REGIONS, DataOption, parse_dp_list
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_embed.quant.options import QuantizeOptions
    from tesla_host.appraisal import Appraisal

QUANTIZE_SCHEMA = "tesla-embed/quantize/1"
_COMPARED = 1000
"""Test examples for --compare-tables where --check says nothing."""


def quantize(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors that train wrote")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="where the integer model goes")],
    regions: Annotated[str, typer.Option(help="DP percentages to support")] = ALL_REGIONS,
    samples: choices.SamplesOption = 1000,
    calibration: choices.MethodOption = "minmax",
    percentile: choices.PercentileOption = None,
    tables: choices.TablesOption = "region",
    bias_correction: choices.CorrectionOption = False,
    weights: choices.BitsOption = "int8",
    rounding: choices.RoundingOption = None,
    budget: choices.BudgetOption = None,
    max_loss: choices.LossOption = None,
    qat: choices.QatOption = False,
    qat_epochs: choices.EpochsOption = None,
    qat_samples: choices.ExamplesOption = None,
    check: choices.CheckOption = 0,
    compare_tables: choices.CompareOption = False,
    json_: JsonOption = None,
) -> None:
    """Quantise a trained network to integers, calibrated for each operating region.

    Example: tesla-embed quantize runs/m/model.safetensors --data digits --out m.safetensors
    """
    from tesla_host.cli.terminal import need_torch

    need_torch()
    from tesla_embed.atomic import check_writable

    dps = parse_dp_list(regions)
    options = choices.make_options(
        samples,
        (calibration, percentile, tables),
        (weights, rounding, budget, max_loss),
        (qat, qat_epochs, qat_samples),
        bias_correction,
    )
    check_writable(out, checkpoint)
    check_json(json_, checkpoint)
    count = check or (_COMPARED if compare_tables else 0)
    _quantize(checkpoint, data, out, dps, options, count, compare_tables, json_)


def _quantize(
    file: Path,
    data: str,
    out: Path,
    dps: tuple[int, ...],
    options: "QuantizeOptions",
    samples: int,
    compare_tables: bool,
    json_: Path | None,
) -> None:
    """Nothing is written before it is known that C can be made of it."""
    from tesla_embed.data import load_data
    from tesla_embed.ir.store import digest, save_model
    from tesla_embed.quant import quantize_checkpoint
    from tesla_embed.train.checkpoint import load_checkpoint
    from tesla_host.appraisal import appraise
    from tesla_host.cli.terminal import progress

    loaded, dataset = load_checkpoint(file), load_data(data)
    task = loaded.network.task
    found: dict[str, Appraisal] = {}
    with progress("quantising") as observer:
        model = quantize_checkpoint(loaded, dataset, dps, options, observer)
        observer("measuring", 1.0)
        found[options.calibration.tables] = appraise(model, dataset, samples, task)
        save_model(out, model)
        if compare_tables:
            other = _other_tables(options)
            twin = quantize_checkpoint(loaded, dataset, dps, other, observer)
            found[other.calibration.tables] = appraise(twin, dataset, samples, task)

    def show() -> None:
        _print(found)
        print(f"{out}: {model.name}, {len(model.regions)} regions, digest {digest(model)[:16]}")

    present(json_, _document(found, options, dataset.name, digest(model)), show)


def _other_tables(options: "QuantizeOptions") -> "QuantizeOptions":
    calibration = options.calibration
    other: Literal["region", "shared"] = "shared" if calibration.tables == "region" else "region"
    return dataclasses.replace(options, calibration=dataclasses.replace(calibration, tables=other))


def _document(
    found: "dict[str, Appraisal]", options: "QuantizeOptions", data: str, digest: str
) -> dict[str, object]:
    return {
        "schema": QUANTIZE_SCHEMA,
        "digest": digest,
        "data": data,
        "options": dataclasses.asdict(options),
        "tables": {name: dataclasses.asdict(one) for name, one in found.items()},
    }


def _print(found: "dict[str, Appraisal]") -> None:
    """Accuracy of each choice of tables beside the float network's, and their bytes."""
    from rich.table import Table

    from tesla_host.cli.terminal import console

    first = next(iter(found.values()))
    if first.accuracy:
        table = Table(caption=f"{first.samples:,} test examples")
        for heading in ("DP %", "float", *(f"{name} tables" for name in found)):
            table.add_column(heading, justify="right")
        for dp in first.accuracy:
            reference = f"{first.reference[dp]:.2%}" if dp in first.reference else ""
            scores = (f"{one.accuracy[dp]:.2%}" for one in found.values())
            table.add_row(str(dp), reference, *scores)
        console().print(table)
    for name, one in found.items():
        print(f"{name} tables: weights {one.weights_bytes:,} B, tables {one.table_bytes:,} B")
