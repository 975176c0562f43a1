"""The verb that turns a checkpoint into an integer model."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tesla_host.cli.options import ALL_REGIONS, DataOption, parse_dp_list

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
    samples: Annotated[int, typer.Option(min=1, help="training examples to calibrate on")] = 1000,
    calibration: Annotated[
        Literal["minmax", "percentile", "mse"], typer.Option(help="how far activations reach")
    ] = "minmax",
    percentile: Annotated[float, typer.Option(help="for --calibration percentile")] = 99.99,
    tables: Annotated[
        Literal["region", "shared"], typer.Option(help="activation scales: each its own, or one")
    ] = "region",
    bias_correction: Annotated[
        bool, typer.Option("--bias-correction", help="undo what rounding does to the means")
    ] = False,
    weights: Annotated[
        Literal["int8", "int4", "mixed"], typer.Option(help="bits of the weights")
    ] = "int8",
    rounding: Annotated[
        Literal["bitsplit", "nearest"], typer.Option(help="how four bits are found")
    ] = "bitsplit",
    budget: Annotated[
        int | None, typer.Option(metavar="BYTES", help="mixed: all weights together")
    ] = None,
    max_loss: Annotated[
        float | None, typer.Option(metavar="POINTS", help="mixed: accuracy that may be lost")
    ] = None,
    qat: Annotated[bool, typer.Option("--qat", help="train the integers, all regions")] = False,
    qat_epochs: Annotated[int, typer.Option(min=1, help="for --qat")] = 2,
    qat_samples: Annotated[int, typer.Option(min=2, help="for --qat: training examples")] = 10_000,
    check: Annotated[
        int, typer.Option(min=0, metavar="N", help="test examples to measure accuracy on")
    ] = 0,
    compare_tables: Annotated[
        bool, typer.Option("--compare-tables", help="measure the other --tables as well")
    ] = False,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="also write the numbers here")
    ] = None,
) -> None:
    """Quantise a trained network to integers, calibrated for each operating region.

    Example: tesla-embed quantize runs/m/model.safetensors --data digits --out m.safetensors
    """
    from tesla_host.cli.terminal import need_torch, progress

    need_torch()
    from tesla_embed.atomic import check_writable, write_text
    from tesla_embed.data import load_data
    from tesla_embed.ir.store import digest, save_model
    from tesla_embed.quant import quantize_checkpoint
    from tesla_embed.quant.options import Calibration, QatOptions, QuantizeOptions, Reduction
    from tesla_embed.train.checkpoint import load_checkpoint
    from tesla_host.appraisal import appraise

    dps = parse_dp_list(regions)
    options = QuantizeOptions(
        samples=samples,
        calibration=Calibration(method=calibration, percentile=percentile, tables=tables),
        bias_correction=bias_correction,
        reduction=Reduction(
            bits=weights, rounding=rounding, budget_bytes=budget, max_loss=max_loss
        ),
        qat=QatOptions(epochs=qat_epochs, samples=qat_samples) if qat else None,
    )
    for path in (out, *([json_] if json_ else [])):
        check_writable(path)
    loaded, dataset = load_checkpoint(checkpoint), load_data(data)
    found: dict[str, Appraisal] = {}
    with progress("quantising") as observer:
        model = quantize_checkpoint(loaded, dataset, dps, options, observer)
        save_model(out, model)
        observer("measuring", 1.0)
        count = check or (_COMPARED if compare_tables else 0)
        task = loaded.network.task
        found[tables] = appraise(model, dataset, count, task)
        if compare_tables:
            other = _other_tables(options)
            twin = quantize_checkpoint(loaded, dataset, dps, other, observer)
            found[other.calibration.tables] = appraise(twin, dataset, count, task)
    if json_ is not None:
        write_text(json_, _as_json(found, options, dataset.name, digest(model)))
    _print(found)
    print(f"{out}: {model.name}, {len(model.regions)} regions, digest {digest(model)[:16]}")


def _other_tables(options: "QuantizeOptions") -> "QuantizeOptions":
    calibration = options.calibration
    other: Literal["region", "shared"] = "shared" if calibration.tables == "region" else "region"
    return dataclasses.replace(options, calibration=dataclasses.replace(calibration, tables=other))


def _as_json(
    found: "dict[str, Appraisal]", options: "QuantizeOptions", data: str, digest: str
) -> str:
    import json

    content = {
        "schema": QUANTIZE_SCHEMA,
        "digest": digest,
        "data": data,
        "options": dataclasses.asdict(options),
        "tables": {name: dataclasses.asdict(one) for name, one in found.items()},
    }
    return json.dumps(content, indent=2) + "\n"


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
