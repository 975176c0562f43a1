"""Observe the range of every activation in every region on real samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import QuantizationError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.interpret_float import float_activations
from tesla_embed.quant.histogram import Histogram
from tesla_embed.quant.options import Calibration

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Extremes = tuple[Float64, Float64]
"""Smallest and largest value of every tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Smallest and largest value of each tensor of the graph, in one region."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def calibrate(
    model: Model,
    inputs: Float32,
    input_range: tuple[float, float] | None = None,
    options: Calibration = Calibration(),  # noqa: B008 - immutable
) -> tuple[Ranges, ...]:
    """The ranges that integers are to cover, of all activations, one entry per region.

    `inputs` are `[N, *input shape]` floats. `input_range` is the range that inputs are known to
    have (0 to 1 for images); without it, it is what the samples show. The input's range is the
    same in every region, because whoever quantises an input does not know the region; it is never
    clipped. Raises `QuantizationError` when there are no samples or an activation is not finite.
    """
    if not len(inputs):
        raise QuantizationError("calibration needs at least one sample; pass data that has some")
    whole = input_range or (float(inputs.min()), float(inputs.max()))
    seen = [_extremes(model, region, inputs) for region in model.regions]
    if options.tables == "shared":
        lows, highs = zip(*seen, strict=True)
        seen = [(np.min(lows, axis=0), np.max(highs, axis=0))] * len(seen)
    if options.method != "minmax":
        seen = _clipped(model, inputs, seen, options)
    ranges = []
    for low, high in seen:
        low, high = low.copy(), high.copy()
        low[model.graph.input], high[model.graph.input] = whole
        ranges.append(Ranges(low=tuple(low.tolist()), high=tuple(high.tolist())))
    return tuple(ranges)


def _extremes(model: Model, region: Region, inputs: Float32) -> Extremes:
    count = len(model.graph.tensors)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    for values in float_activations(model, region, inputs):
        low = np.minimum(low, [value.min() for value in values])
        high = np.maximum(high, [value.max() for value in values])
    largest = float(np.finfo(np.float32).max)  # the network itself computes in float32
    finites = (low >= -largest) & (high <= largest)
    for tensor, finite in zip(model.graph.tensors, finites, strict=True):
        if not finite:
            raise QuantizationError(
                f"{tensor.name} is not finite at {region.dp} % DP; train the network again"
            )
    return low, high


def _clipped(
    model: Model, inputs: Float32, seen: Sequence[Extremes], options: Calibration
) -> list[Extremes]:
    """The ranges without rare extremes, from histograms over what was `seen`."""
    made: list[list[Histogram]] = []
    for number, (region, (low, high)) in enumerate(zip(model.regions, seen, strict=True)):
        if number and options.tables == "shared":
            made.append(made[0])  # counts add up
        else:
            made.append([Histogram(*ends) for ends in zip(low, high, strict=True)])
        for values in float_activations(model, region, inputs):
            for histogram, value in zip(made[-1], values, strict=True):
                histogram.add(value)
    if options.tables == "shared":
        return [_ends(made[0], options)] * len(made)
    return [_ends(histograms, options) for histograms in made]


def _ends(histograms: Sequence[Histogram], options: Calibration) -> Extremes:
    if options.method == "percentile":
        ends = [histogram.percentile(options.percentile) for histogram in histograms]
    else:
        ends = [histogram.least_error() for histogram in histograms]
    low, high = np.array(ends, np.float64).T
    return low, high
