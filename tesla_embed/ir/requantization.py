"""From scales to the integers a kernel works with: multipliers, shifts, offsets and clamps."""

from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import GraphError
from tesla_embed.ir.fixedpoint import Multiplier, quantize_multiplier
from tesla_embed.ir.graph import Table
from tesla_embed.ir.ops import Activation, Weighted
from tesla_embed.ir.types import Quantization, TensorType


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requantization:
    """Integer parameters of one weighted operation in one region.

    `accumulator = bias + sum((x + input_offset) * w)`; the output is
    `clamp(requantize(accumulator, factors) + output_offset, activation_min, activation_max)`.
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
    """Derive the integers from the (active) types and the table of a region."""
    low, high = activation_range(op.activation, quantization(target))
    return Requantization(
        bias=table.bias.astype(np.int32),
        factors=quantize_multiplier(rescale_factors(source, target, table)),
        input_offset=-quantization(source).zero_point,
        output_offset=quantization(target).zero_point,
        activation_min=low,
        activation_max=high,
    )


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
    """The clamp, in integers, that a fused activation becomes (as TensorFlow Lite rounds it)."""
    match activation:
        case Activation.NONE:
            return -128, 127
        case Activation.RELU:
            return max(-128, output.zero_point), 127
        case Activation.RELU6:
            with np.errstate(over="ignore"):  # a tiny scale: six is far outside
                six = float(np.float32(6.0) / np.float32(output.scale))
            above = int(min(six, 255.0) + 0.5)
            return max(-128, output.zero_point), min(127, output.zero_point + above)
        case _:
            assert_never(activation)
