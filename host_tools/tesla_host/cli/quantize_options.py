"""What `quantize` can be told, as options of the command line, and the value that they make.

Refuses, with `ConfigError`, options that would have no effect beside the others.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tesla_embed.errors import ConfigError

if TYPE_CHECKING:
    from tesla_embed.quant.options import QuantizeOptions

Method = Literal["minmax", "percentile", "mse"]
Tables = Literal["region", "shared"]
Bits = Literal["int8", "int4", "mixed"]
Rounding = Literal["bitsplit", "nearest"]

SamplesOption = Annotated[int, typer.Option(min=1, help="training examples to calibrate on")]
MethodOption = Annotated[Method, typer.Option(help="how far activations reach")]
PercentileOption = Annotated[
    float | None,
    typer.Option(show_default="99.99", help="for --calibration percentile"),
]
TablesOption = Annotated[Tables, typer.Option(help="activation scales: each its own, or one")]
CorrectionOption = Annotated[
    bool, typer.Option("--bias-correction", help="undo what rounding does to the means")
]
BitsOption = Annotated[Bits, typer.Option(help="bits of the weights")]
RoundingOption = Annotated[
    Rounding | None,
    typer.Option(show_default="bitsplit", help="for int4 and mixed: how four bits are found"),
]
BudgetOption = Annotated[
    int | None, typer.Option(metavar="BYTES", help="mixed: all weights together")
]
LossOption = Annotated[
    float | None, typer.Option(metavar="POINTS", help="mixed: accuracy that may be lost")
]
QatOption = Annotated[bool, typer.Option("--qat", help="train the integers, all regions")]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, show_default="2", help="for --qat: passes over the examples")
]
ExamplesOption = Annotated[
    int | None, typer.Option(min=2, show_default="10000", help="for --qat: training examples")
]
CheckOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="test examples to measure accuracy on")
]
CompareOption = Annotated[
    bool, typer.Option("--compare-tables", help="measure the other --tables as well")
]


def make_options(
    samples: int,
    calibration: tuple[Method, float | None, Tables],
    weights: tuple[Bits, Rounding | None, int | None, float | None],
    qat: tuple[bool, int | None, int | None],
    bias_correction: bool,
) -> "QuantizeOptions":
    """The options given, in the groups that belong together; defaults where one is `None`."""
    from tesla_embed.quant.options import Calibration, QatOptions, QuantizeOptions, Reduction

    method, percentile, tables = calibration
    bits, rounding, budget, max_loss = weights
    trained, epochs, examples = qat
    if percentile is not None and method != "percentile":
        raise ConfigError("--percentile is for --calibration percentile; add it, or leave this out")
    if rounding is not None and bits == "int8":
        raise ConfigError("--rounding is for weights of four bits; add --weights int4 or mixed")
    if not trained and (epochs is not None or examples is not None):
        raise ConfigError("--qat-epochs and --qat-samples are for --qat; add it")
    return QuantizeOptions(
        samples=samples,
        calibration=Calibration(
            method=method, percentile=99.99 if percentile is None else percentile, tables=tables
        ),
        bias_correction=bias_correction,
        reduction=Reduction(
            bits=bits, rounding=rounding or "bitsplit", budget_bytes=budget, max_loss=max_loss
        ),
        qat=QatOptions(epochs=epochs or 2, samples=examples or 10_000) if trained else None,
    )
