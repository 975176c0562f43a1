"""Scales become multipliers, offsets and clamps; real inputs become integers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tesla_embed.errors import GraphError
from tesla_embed.ir.fixedpoint import requantize_once
from tesla_embed.ir.graph import Table
from tesla_embed.ir.ops import Activation, Conv2D, FullyConnected, Window
from tesla_embed.ir.requantization import (
    accumulator_range,
    activation_range,
    quantization,
    quantize_input,
    requantization,
    rescale_factors,
)
from tesla_embed.ir.types import DType, Quantization, TensorType, Weights

quick = settings(derandomize=True, deadline=None, max_examples=300)
ZERO_POINTS = st.integers(-128, 127)


def vector(size: int, scale: float, zero_point: int) -> TensorType:
    q = Quantization(scale=float(np.float32(scale)), zero_point=zero_point)
    return TensorType(shape=(size,), channels=size, quantization=q)


def test_derives_offsets_bias_and_factors() -> None:
    weights = Weights(data=np.zeros((2, 1, 1, 3), np.int8))
    op = Conv2D(name="c", inputs=(0,), output=1, weights=weights, window=Window(height=1, width=1))
    table = Table(bias=np.array([5, -7], np.int32), weight_scale=np.array([0.5, 0.25]))
    found = requantization(op, table, vector(3, 0.5, -128), vector(2, 0.25, 127))
    assert (found.input_offset, found.output_offset) == (128, 127)
    assert (found.activation_min, found.activation_max) == (-128, 127)
    assert found.bias.tolist() == [5, -7]
    assert found.factors.multiplier.tolist() == [2**30, 2**30]
    assert found.factors.shift.tolist() == [1, 0]


def dense(data: list[list[int]]) -> FullyConnected:
    weights = Weights(data=np.array(data, np.int8))
    return FullyConnected(name="fc", inputs=(0,), output=1, weights=weights)


def test_the_range_of_sums_is_reached_and_not_left() -> None:
    op, bias = dense([[127, -127], [5, 0]]), np.array([10, -3], np.int32)
    for zero_point in (-128, -5, 0, 127):
        q = Quantization(scale=1.0, zero_point=zero_point)
        corners = np.array([[a, b] for a in (-128, 127) for b in (-128, 127)]) - zero_point
        sums = corners @ op.weights.data.astype(np.int64).T + bias
        low, high = accumulator_range(op, bias, q)
        assert low.tolist() == sums.min(axis=0).tolist()
        assert high.tolist() == sums.max(axis=0).tolist()


def test_fully_connected_layers_round_as_float64_does() -> None:
    """A factor of one half makes every odd sum a tie, which goes away from zero."""
    table = Table(bias=np.array([0], np.int32), weight_scale=np.array([0.5]))
    found = requantization(dense([[1]]), table, vector(1, 1.0, 0), vector(1, 1.0, 0))
    sums = np.array([[-5], [-3], [-2], [-1], [0], [1], [2], [3], [5]], np.int64)
    rounded = requantize_once(sums, found.factors)[:, 0].tolist()
    assert rounded == [-3, -2, -1, -1, 0, 1, 1, 2, 3]


def test_a_layer_without_exact_integers_is_refused_by_name() -> None:
    op = dense([[127] * 60000] * 8)
    scales = np.linspace(0.3, 0.4, 8, dtype=np.float32).astype(np.float64)
    table = Table(bias=np.zeros(8, np.int32), weight_scale=scales)
    with pytest.raises(GraphError, match=r"fc: channel \d: no 31-bit multiplier .*fewer inputs"):
        requantization(op, table, vector(60000, 1.0, 0), vector(8, 3e6, 0))


@quick
@given(
    st.floats(2.0**-20, 2.0**20, width=32),
    st.floats(2.0**-20, 2.0**20, width=32),
    st.floats(2.0**-20, 2.0**20, width=32),
)
def test_rescale_factors_multiply_before_they_divide(a: float, w: float, b: float) -> None:
    table = Table(bias=np.zeros(1, np.int32), weight_scale=np.array([w]))
    assert rescale_factors(vector(1, a, 0), vector(1, b, 0), table).tolist() == [a * w / b]


@quick
@given(st.sampled_from(Activation), st.floats(2.0**-10, 100, width=32), ZERO_POINTS)
@example(Activation.RELU6, 6 / 255, -128)
@example(Activation.RELU6, 12.0, 0)
@example(Activation.RELU_N1_TO_1, 2.0, -128)
def test_clamps_are_the_nearest_integers_of_the_activation(
    activation: Activation, scale: float, zero_point: int
) -> None:
    scale = float(np.float32(scale))
    low, high = activation_range(activation, Quantization(scale=scale, zero_point=zero_point))
    assert -128 <= low <= high <= 127
    ends = {
        Activation.NONE: (None, None),
        Activation.RELU: (0, None),
        Activation.RELU6: (0, 6),
        Activation.RELU_N1_TO_1: (-1, 1),
    }[activation]
    for real, found, limit in zip(ends, (low, high), (-128, 127), strict=True):
        if real is None:
            assert found == limit
            continue
        exact = Fraction(real) / Fraction(scale)
        wanted = zero_point + exact
        if abs(wanted) >= abs(limit) and wanted * limit > 0:
            assert found == limit
        else:  # the quotient is a float32: it may fall on the other side of a tie
            assert abs(found - wanted) <= Fraction(1, 2) + abs(exact) / 2**22


@pytest.mark.parametrize("scale", [1e-45, 1.7e-38, 4.6e-10, 4.7e-10, 2.7e-9, 2.8e-9, 1e38, 3.4e38])
def test_clamps_survive_any_float32_scale(scale: float) -> None:
    """An end must fit 32 bits: where it does not, TensorFlow Lite clamps at what is left of it."""
    q = Quantization(scale=float(np.float32(scale)), zero_point=-3)
    ends = {
        Activation.RELU6: (6, (-3, 127)),
        Activation.RELU_N1_TO_1: (1, (-128, 127)),
    }
    for activation, (end, wide) in ends.items():
        if scale < end / 2**31:
            with pytest.raises(GraphError, match="is too small for "):
                activation_range(activation, q)
        else:
            assert activation_range(activation, q) == (wide if scale < 1 else (-3, -3))


def test_refuses_float_types_and_tables() -> None:
    float_type = TensorType(shape=(1,), channels=1, dtype=DType.FLOAT32)
    with pytest.raises(GraphError, match="quantise the model first"):
        quantization(float_type)
    table = Table(bias=np.zeros(1, np.float32))
    with pytest.raises(GraphError, match="quantise it first"):
        rescale_factors(vector(1, 1, 0), vector(1, 1, 0), table)


@quick
@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(2.0**-20, 2.0**20, width=32),
    ZERO_POINTS,
)
@example(0.5, 1.0, 0)
@example(-0.5, 1.0, 0)
@example(-2.5, 1.0, -128)
def test_quantize_input_rounds_half_away(real: float, scale: float, zero_point: int) -> None:
    type_ = vector(1, scale, zero_point)
    found = int(quantize_input(type_, np.array([[real]], np.float32))[0, 0])
    with np.errstate(over="ignore"):
        quotient = np.float32(real) / np.float32(scale)
    if math.isinf(quotient):
        assert found == (127 if quotient > 0 else -128)
        return
    sum_ = abs(quotient) + np.float32(0.5)  # float32, as in C
    wanted = zero_point + int(math.copysign(math.floor(sum_), quotient))
    assert found == max(-128, min(127, wanted))


def test_quantize_input_of_what_is_no_number() -> None:
    type_ = vector(3, 0.5, 7)
    real = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    assert quantize_input(type_, real).tolist() == [[-128, 127, -128]]


def test_quantize_input_takes_float64_and_gives_the_shape_of_the_type() -> None:
    type_ = TensorType(
        shape=(2, 1, 2), channels=2, quantization=Quantization(scale=0.5, zero_point=-1)
    )
    found = quantize_input(type_, np.array([[0.0, 0.25, -0.25, 100.0]]))
    assert found.shape == (1, 2, 1, 2)
    assert found.dtype.name == "int8"
    assert found.reshape(-1).tolist() == [-1, 0, -2, 127]
