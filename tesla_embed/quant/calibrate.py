"""Observe the range of every activation in every region on real samples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import QuantizationError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.interpret_float import float_activations

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Smallest and largest value of each tensor of the graph, in one region."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def calibrate(
    model: Model, inputs: Float32, input_range: tuple[float, float] | None = None
) -> tuple[Ranges, ...]:
    """Min-max ranges of all activations, one entry per region.

    `inputs` are `[N, *input shape]` floats. `input_range` is the range that inputs are known to
    have (0 to 1 for images); without it, it is what the samples show. The input's range is the
    same in every region, because whoever quantises an input does not know the region.
    Raises `QuantizationError` when there are no samples or an activation is not finite.
    """
    if not len(inputs):
        raise QuantizationError("calibration needs at least one sample; pass data that has some")
    whole = input_range or (float(inputs.min()), float(inputs.max()))
    return tuple(_observe(model, region, inputs, whole) for region in model.regions)


def _observe(
    model: Model, region: Region, inputs: Float32, input_range: tuple[float, float]
) -> Ranges:
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
    low[model.graph.input], high[model.graph.input] = input_range
    return Ranges(low=tuple(low.tolist()), high=tuple(high.tolist()))
