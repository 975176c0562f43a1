"""From scales to integers, for operations without weights; see `requantization` for the others."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.fixedpoint import Multiplier, quantize_multiplier
from tesla_embed.ir.ops import UNIT, Activation, Add
from tesla_embed.ir.requantization import activation_range, quantization
from tesla_embed.ir.types import TensorType

ADD_SHIFT = 20
"""Bits by which an addition shifts both sides to the left before it scales them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AddScaling:
    """Integer parameters of an addition in one region.

    Each side becomes `requantize((x + input_offset) << ADD_SHIFT, factor)`; the output is
    `clamp(requantize(sum, output_factor) + output_offset, activation_min, activation_max)`.
    """

    input_offsets: tuple[int, int]
    factors: tuple[Multiplier, Multiplier]
    output_factor: Multiplier
    output_offset: int
    activation_min: int
    activation_max: int


def add_factors(first: TensorType, second: TensorType, target: TensorType) -> tuple[float, ...]:
    """What scales the two sides and their sum, in float64.

    Both sides are brought to twice the larger of their scales, as TensorFlow Lite does, so that
    neither factor exceeds one half.
    """
    scales = [quantization(type_).scale for type_ in (first, second)]
    common = 2.0 * max(scales)
    output = common / (2.0**ADD_SHIFT * quantization(target).scale)
    return scales[0] / common, scales[1] / common, output


def add_scaling(op: Add, first: TensorType, second: TensorType, target: TensorType) -> AddScaling:
    """Derive the integers of an addition from the (active) types of its ends."""
    low, high = activation_range(op.activation, quantization(target))
    factors = [quantize_multiplier(np.array([f])) for f in add_factors(first, second, target)]
    return AddScaling(
        input_offsets=(-quantization(first).zero_point, -quantization(second).zero_point),
        factors=(factors[0], factors[1]),
        output_factor=factors[2],
        output_offset=quantization(target).zero_point,
        activation_min=low,
        activation_max=high,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rescaling:
    """Integer parameters of a change of quantisation in one region.

    The output is
    `clamp(requantize(x + input_offset, factor) + output_offset, activation_min, activation_max)`;
    a mean has in place of `x + input_offset` its sum over all pixels.
    """

    factor: Multiplier
    input_offset: int
    output_offset: int
    activation_min: int
    activation_max: int


def rescaling(
    source: TensorType, target: TensorType, activation: Activation = Activation.NONE
) -> Rescaling:
    """Derive the integers from the (active) types of two ends."""
    low, high = activation_range(activation, quantization(target))
    return Rescaling(
        factor=quantize_multiplier(np.array([scale_ratio(source, target)])),
        input_offset=-quantization(source).zero_point,
        output_offset=quantization(target).zero_point,
        activation_min=low,
        activation_max=high,
    )


def scale_ratio(source: TensorType, target: TensorType) -> float:
    """Input scale over output scale, in float64."""
    return quantization(source).scale / quantization(target).scale


def mean_rescaling(source: TensorType, target: TensorType) -> Rescaling:
    """As `rescaling`, for the sum over all pixels of `source`.

    TensorFlow Lite divides the multiplier by the number of pixels, in integers, after shifting it
    to the left by as much as the number leaves room for (`reference/integer_ops/mean.h`).
    """
    plain = rescaling(source, target)
    multiplier, shift = (int(values[0]) for values in plain.factor)
    count = source.positions
    room = min(count.bit_length() - 1, 31 + shift)
    factor = Multiplier(
        np.array([(multiplier << room) // count], np.int32), np.array([shift - room], np.int8)
    )
    return dataclasses.replace(plain, factor=factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxScaling:
    """Integer parameters of a softmax in one region.

    A difference to the row's largest value is scaled to Q5.26 by
    `doubling_high_mul(difference << shift, multiplier)`; below `smallest` it counts as nothing.
    """

    multiplier: int
    shift: int
    smallest: int


def softmax_scaling(source: TensorType) -> SoftmaxScaling:
    """Derive the integers from the (active) type of the input, as TensorFlow Lite does.

    Source: `PreprocessSoftmaxScaling` and `CalculateInputRadius` of its `quantization_util`.
    """
    real = min(quantization(source).scale * 2.0**26, 2.0**31 - 1)
    multiplier, shift = (int(values[0]) for values in quantize_multiplier(np.array([real])))
    radius = math.floor(31 * 2.0**26 / 2.0**shift)
    return SoftmaxScaling(multiplier=multiplier, shift=shift, smallest=-min(radius, 255))


def logistic_table(source: TensorType) -> npt.NDArray[np.int8]:
    """The output for every input from -128 to 127.

    LiteRT makes such a table, too, in float32; every step but the exponential is rounded the same
    everywhere, and that is rounded correctly here.
    """
    q = quantization(source)
    real = np.float32(q.scale) * (np.arange(-128, 128) - q.zero_point).astype(np.float32)
    with np.errstate(over="ignore"):
        exponential = np.exp(-real.astype(np.float64)).astype(np.float32)
    unit = np.float32(1) / (np.float32(1) + exponential)
    scaled = np.floor(unit.astype(np.float64) / UNIT.scale + 0.5)
    table: npt.NDArray[np.int8] = np.clip(scaled + UNIT.zero_point, -128, 127).astype(np.int8)
    return table
