"""From scales to the integers a kernel works with: multipliers, shifts, offsets and clamps."""

from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import GraphError
from tesla_embed.ir.fixedpoint import Int64, Multiplier, quantize_multiplier
from tesla_embed.ir.graph import Table
from tesla_embed.ir.ops import Activation, FullyConnected, Weighted
from tesla_embed.ir.transitions import transition_factors
from tesla_embed.ir.types import Quantization, TensorType


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requantization:
    """Integer parameters of one weighted operation in one region.

    `accumulator = bias + sum((x + input_offset) * w)`; the output is
    `clamp(requantize(accumulator, factors) + output_offset, activation_min, activation_max)`,
    with `requantize_once` in place of `requantize` for fully connected layers.
    """

    bias: npt.NDArray[np.int32]
    factors: Multiplier
    input_offset: int
    output_offset: int
    activation_min: int
    activation_max: int


def requantization(
    op: Weighted, table: Table, source: TensorType, target: TensorType
) -> Requantization:
    """Derive the integers of an operation of a dense graph from its types and table in a region.

    Raises `GraphError` for a fully connected layer whose factors no integers represent exactly.
    """
    entry, exit_ = quantization(source), quantization(target)
    low, high = activation_range(op.activation, exit_)
    factors = rescale_factors(source, target, table)
    bias = table.bias.astype(np.int32)
    if isinstance(op, FullyConnected):
        reach = accumulator_range(op, bias, entry)
        levels = (low - exit_.zero_point, high - exit_.zero_point)
        try:
            scaled = transition_factors(factors, *reach, levels)
        except GraphError as error:
            raise GraphError(f"{op.name}: {error}", op.name) from error
    else:
        scaled = quantize_multiplier(factors)
    return Requantization(
        bias=bias,
        factors=scaled,
        input_offset=-entry.zero_point,
        output_offset=exit_.zero_point,
        activation_min=low,
        activation_max=high,
    )


def accumulator_range(
    op: FullyConnected, bias: npt.NDArray[np.int32], source: Quantization
) -> tuple[Int64, Int64]:
    """Smallest and largest accumulator `[out]` that int8 inputs can make."""
    weights, zero = op.weights.data, np.int8(0)
    positive = np.maximum(weights, zero).sum(axis=1, dtype=np.int64)
    negative = np.minimum(weights, zero).sum(axis=1, dtype=np.int64)
    least, most = -128 - source.zero_point, 127 - source.zero_point
    low = bias + positive * least + negative * most
    high = bias + positive * most + negative * least
    return low, high


def rescale_factors(
    source: TensorType, target: TensorType, table: Table
) -> npt.NDArray[np.float64]:
    """Input scale times weight scale over output scale, per channel, in float64.

    TensorFlow Lite forms the product in this order; another order may round differently.
    """
    if table.weight_scale is None:
        raise GraphError("a float model has no requantisation; quantise it first")
    factors: npt.NDArray[np.float64] = (
        quantization(source).scale * table.weight_scale / quantization(target).scale
    )
    return factors


def quantization(type_: TensorType) -> Quantization:
    """The quantisation of an integer activation; `GraphError` for a float one."""
    if type_.quantization is None:
        raise GraphError("a float activation has no quantisation; quantise the model first")
    return type_.quantization


def quantize_input(type_: TensorType, real: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int8]:
    """Real inputs `[N, ...]` as the int8 `[N, *shape]` that a model takes; halves away from zero.

    The generated C helper computes the same, in float32. Values out of range saturate.
    """
    q = quantization(type_)
    with np.errstate(over="ignore"):  # infinity saturates like anything out of range
        scaled = real.astype(np.float32) / np.float32(q.scale)
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
    integers = np.clip(np.nan_to_num(rounded, nan=-256.0) + q.zero_point, -128, 127)
    shaped: npt.NDArray[np.int8] = integers.astype(np.int8).reshape(len(real), *type_.shape)
    return shaped


def activation_range(activation: Activation, output: Quantization) -> tuple[int, int]:
    """The clamp, in integers, that a fused activation becomes (as TensorFlow Lite rounds it).

    Raises `GraphError` for scales so small that the bound fits no int32 there.
    """
    match activation:
        case Activation.NONE:
            return -128, 127
        case Activation.RELU:
            return max(-128, output.zero_point), 127
        case Activation.RELU6:
            above = _steps(6.0, output, "ReLU6")
            return max(-128, output.zero_point), min(127, output.zero_point + above)
        case Activation.RELU_N1_TO_1:
            one = _steps(1.0, output, "a clamp to 1")
            return max(-128, output.zero_point - one), min(127, output.zero_point + one)
        case _:
            assert_never(activation)


def _steps(end: float, output: Quantization, what: str) -> int:
    """A positive end of a clamp in steps of the output's scale; at most 255, all of int8.

    Raises `GraphError` where TensorFlow Lite cannot hold the steps in 32 bits.
    """
    with np.errstate(over="ignore"):  # a tiny scale: the end is far outside
        steps = float(np.float32(end) / np.float32(output.scale))
    if steps >= 2.0**31:
        raise GraphError(f"a scale of {output.scale:g} is too small for {what}")
    return int(min(steps, 255.0) + 0.5)
