"""Quantisation: scales, zero points and biases, and how far the integers are from the floats."""

from fractions import Fraction

import numpy as np
import pytest
from graphs import float_inputs, float_model
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tesla_embed.errors import GraphError, QuantizationError
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.interpret import apply_op, interpret_layers
from tesla_embed.ir.interpret_float import float_activations, interpret_float
from tesla_embed.ir.ops import Activation, FullyConnected, Passing, Reshape, Weighted
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.specialize import specialize
from tesla_embed.ir.types import DType, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify
from tesla_embed.quant import calibrate, quantize
from tesla_embed.quant.equalize import equalize
from tesla_embed.quant.rounding import activation_quantization, quantize_weights

quick = settings(derandomize=True, deadline=None, max_examples=300)
BOUND = st.floats(-1e30, 1e30)


def dense(
    weights: object, bias: object, activation: Activation = Activation.NONE, name: str = "net"
) -> Model:
    """A float model of one fully connected layer in one region."""
    data, offsets = np.array(weights, np.float32), np.array(bias, np.float32)
    types = tuple(TensorType(shape=(n,), channels=n, dtype=DType.FLOAT32) for n in data.shape[::-1])
    op = FullyConnected(
        name="fc", inputs=(0,), output=1, weights=Weights(data=data), activation=activation
    )
    tensors = (Tensor(name="x", type=types[0]), Tensor(name="y", type=types[1]))
    graph = Graph(tensors=tensors, ops=(op,), input=0, output=1)
    region = Region(dp=100, types=types, tables=(Table(bias=offsets),))
    return verify(Model(name=name, graph=graph, regions=(region,)))


@quick
@given(BOUND, BOUND)
@example(0.0, 0.0)
@example(1.0, 2.0)
@example(-2.0, -1.0)
@example(-1e30, 1e-30)
def test_activations_cover_their_range_and_zero(low: float, high: float) -> None:
    assume(low <= high)
    q = activation_quantization(low, high)
    assert -128 <= q.zero_point <= 127
    assert float(np.float32(q.scale)) == q.scale > 0
    low, high = min(low, 0.0), max(high, 0.0)
    if (high - low) / 255 < 1e-37:
        return  # a range that no float32 scale can express
    # Zero is an integer exactly; both ends are at most one rounding step out of reach.
    least, most = ((n - q.zero_point) * Fraction(q.scale) for n in (-128, 127))
    slack = Fraction(q.scale) * Fraction(501, 1000) + Fraction(high - low) / 2**22
    assert least <= Fraction(low) + slack
    assert most >= Fraction(high) - slack
    assert most - least <= Fraction(high - low) * (1 + Fraction(1, 2**22))


def test_dead_activation_has_a_usable_scale() -> None:
    assert activation_quantization(0.0, 0.0).scale == 1.0
    assert activation_quantization(0.0, 1e-44).scale == 1.0


@quick
@given(st.integers(1, 6), st.integers(1, 30), st.floats(-20, 20), st.integers(0, 2**32 - 1))
def test_weights_are_within_half_a_step(rows: int, columns: int, power: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = (
        rng.normal(0, 2.0**power, (rows, columns)) * rng.choice([1, 1, 0.01], (rows, 1))
    ).astype(np.float32)
    found = quantize_weights(data)
    assert found.scale is not None
    assert found.data.dtype == np.int8
    assert found.data.shape == data.shape
    assert np.array_equal(found.scale, found.scale.astype(np.float32).astype(np.float64))
    assert np.abs(found.data.astype(int)).max(initial=0) <= 127
    steps = found.scale[:, None]
    assert np.all(np.abs(found.data.astype(float) * steps - data) <= steps * (0.5 + 1e-4))
    for row, scale in zip(np.abs(data).max(axis=1), found.scale, strict=True):
        expected = max(float(row), float(np.abs(data).max()) / 1024) / 127
        assert scale == pytest.approx(expected, rel=1e-6)


def test_weights_of_images_keep_their_shape_and_the_scale_of_each_filter() -> None:
    data = np.zeros((2, 1, 2, 2), np.float32)
    data[0, 0, 1, 0], data[1, 0, 0, 1] = -12.7, 254
    found = quantize_weights(data)
    assert found.scale is not None
    np.testing.assert_allclose(found.scale, [0.1, 2.0], rtol=1e-6)
    assert found.data[0, 0, 1, 0] == -127
    assert found.data[1, 0, 0, 1] == 127
    assert np.count_nonzero(found.data) == 2


def test_dead_channels_stay_dead() -> None:
    model = dense([[1, -1], [0, 0]], [0.5, 0.25])
    done = quantize(model, calibrate(model, np.array([[1, 2], [2, 1]], np.float32)))
    op, region = done.graph.ops[0], done.regions[0]
    assert isinstance(op, FullyConnected)
    assert op.weights.data[1].tolist() == [0, 0]
    layer = interpret_layers(done, region, np.array([[-128, 127], [0, 0]], np.int8))[0]
    q = quantization(region.types[1])
    real = (layer[:, 1].astype(float) - q.zero_point) * q.scale
    np.testing.assert_allclose(real, 0.25, atol=q.scale)
    zeros = dense([[0, 0]], [0])
    quantize(zeros, calibrate(zeros, np.ones((1, 2), np.float32)))


def largest_errors(model: Model, seed: int) -> list[tuple[str, float]]:
    """Per layer the largest error of the integers, as a share of what theory allows.

    The input of every layer is quantised anew, so that each layer's own error is seen: half a step
    of the output, and what the rounding of inputs, weights and bias does to the accumulator.
    """
    inputs = float_inputs(model, seed, 16)
    done = quantize(model, calibrate(model, inputs))
    shares = []
    for region, fixed in zip(model.regions, done.regions, strict=True):
        dense = specialize(done, fixed).graph
        values = next(iter(float_activations(model, region, inputs)))
        integers = {
            i: quantize_input(type_, values[i].reshape(len(inputs), -1))
            for i, type_ in enumerate(fixed.types)
        }
        for index, op in enumerate(dense.ops):
            q = quantization(fixed.types[op.output])
            y = apply_op(op, fixed.tables[index], dense, integers).astype(np.float64)
            allowed = np.float64(q.scale * 1.01 + 1e-6)
            if isinstance(op, Weighted):
                allowed = allowed + accumulator_error(dense, fixed, index, values[op.input])
            elif not isinstance(op, Reshape):
                allowed += sum(quantization(fixed.types[i]).scale for i in op.inputs)
            error = np.abs((y - q.zero_point) * q.scale - values[op.output])
            shares.append(
                (f"seed {seed}, {region.dp} %, {op.name}", float((error / allowed).max()))
            )
    return shares


def accumulator_error(dense: Graph, region: Region, index: int, x: np.ndarray) -> np.float64:
    """Largest error of a sum: every input is off by a step, every weight by half a one."""
    op, table = dense.ops[index], region.tables[index]
    assert isinstance(op, Weighted)
    assert table is not None
    assert table.weight_scale is not None
    step = quantization(region.types[op.input]).scale
    rows = np.abs(op.weights.data.reshape(len(op.weights.data), -1).astype(np.float64))
    count = rows.shape[1]
    weights = rows[: len(table.bias)].sum(axis=1) * table.weight_scale
    largest = np.abs(x).max() + step
    per_channel = step * weights + count * 0.5 * table.weight_scale * largest
    return np.float64((per_channel + step * table.weight_scale).max())


def test_error_of_every_layer_is_bounded() -> None:
    shares = [share for seed in range(40) for share in largest_errors(float_model(seed), seed)]
    assert len(shares) > 300
    assert max(shares, key=lambda entry: entry[1])[1] <= 1.0, max(shares, key=lambda e: e[1])


def test_dequantised_output_of_one_layer_is_within_a_step() -> None:
    """With inputs and weights that are integers already, only the output's rounding remains."""
    rng = np.random.default_rng(4)
    weights = rng.integers(-127, 128, (5, 9))
    weights[:, 0] = 127
    inputs = rng.integers(0, 256, (50, 9)).astype(np.float32)
    inputs[0], inputs[1] = 0, 255
    model = dense(weights, rng.integers(-99, 100, 5))
    done = quantize(model, calibrate(model, inputs))
    region = done.regions[0]
    fixed = interpret_layers(done, region, quantize_input(region.types[0], inputs))[0]
    q = quantization(region.types[1])
    error = np.abs(
        (fixed.astype(float) - q.zero_point) * q.scale
        - interpret_float(model, model.regions[0], inputs)
    )
    assert error.max() <= q.scale * 1.001
    assert error.max() >= q.scale * 0.3  # the bound is no idle one


def test_pools_and_reshapes_pass_quantisation_through_and_inputs_agree() -> None:
    for seed in range(30):
        model = float_model(seed)
        done = quantize(model, calibrate(model, float_inputs(model, seed, 4)))
        assert len({region.types[done.graph.input].quantization for region in done.regions}) == 1
        for region in done.regions:
            for op in done.graph.ops:
                if isinstance(op, Passing):
                    source, target = region.types[op.input], region.types[op.output]
                    assert source.quantization == target.quantization


def test_biases_are_in_units_of_the_accumulator() -> None:
    model = dense([[1, 2], [3, -4]], [0.5, -7.25])
    done = quantize(model, calibrate(model, np.array([[0, 1], [2, 3]], np.float32)))
    table, op = done.regions[0].tables[0], done.graph.ops[0]
    assert table is not None
    assert isinstance(op, FullyConnected)
    assert op.weights.scale is not None
    unit = quantization(done.regions[0].types[0]).scale * op.weights.scale
    real = table.bias.astype(float) * unit
    assert np.all(np.abs(real - np.array([0.5, -7.25])) <= unit / 2 * 1.0001)
    assert np.array_equal(table.weight_scale, op.weights.scale)  # type: ignore[arg-type]


def test_given_input_range_wins() -> None:
    model = dense([[1.0]], [0.0])
    ranges = calibrate(model, np.array([[0.25], [0.5]], np.float32), (0.0, 1.0))
    assert (ranges[0].low[0], ranges[0].high[0]) == (0.0, 1.0)
    assert (ranges[0].low[1], ranges[0].high[1]) == (0.25, 0.5)
    q = quantization(quantize(model, ranges).regions[0].types[0])
    assert (q.scale, q.zero_point) == (float(np.float32(1 / 255)), -128)


def test_ranges_span_all_batches() -> None:
    model = dense([[1.0]], [0.0])
    inputs = np.zeros((1000, 1), np.float32)
    inputs[0], inputs[-1] = -3, 5
    assert calibrate(model, inputs)[0].low == (-3, -3)
    assert calibrate(model, inputs)[0].high == (5, 5)


def test_no_samples() -> None:
    with pytest.raises(QuantizationError, match="needs at least one sample"):
        calibrate(dense([[1.0]], [0.0]), np.zeros((0, 1), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite(value: float) -> None:
    with pytest.raises(QuantizationError, match="x is not finite at 100 % DP"):
        calibrate(dense([[1.0]], [0.0]), np.array([[1.0], [value]], np.float32))


@pytest.mark.filterwarnings("ignore:overflow")
def test_activation_that_overflows() -> None:
    model = dense([[3e38]], [0.0])
    with pytest.raises(QuantizationError, match="y is not finite at 100 % DP"):
        calibrate(model, np.array([[10.0]], np.float32))


def test_quantising_twice() -> None:
    model = dense([[1.0]], [0.0])
    ranges = calibrate(model, np.ones((1, 1), np.float32))
    with pytest.raises(QuantizationError, match="net is quantised already"):
        quantize(quantize(model, ranges), ranges)


def test_bias_that_does_not_fit() -> None:
    model = dense([[1e-2], [1.0]], [1e6, 0.0])
    ranges = calibrate(model, np.full((1, 1), 1e-3, np.float32))
    with pytest.raises(QuantizationError, match="fc at 100 % DP: a bias does not fit int32"):
        quantize(model, ranges)


@pytest.mark.parametrize("weight", [0.0, 1e-6])
@pytest.mark.parametrize("bias", [0.8, -1e6])
def test_bias_of_a_channel_without_weights(weight: float, bias: float) -> None:
    """Whatever its scale, it is its bias: found on a layer whose only input had nearly died."""
    model = dense([[weight], [1.0]], [bias, 0.0])
    inputs = np.array([[1e-6], [2e-6]], np.float32)
    integers = quantize(model, calibrate(model, inputs))
    region = integers.regions[0]
    output = quantization(region.types[1])
    made = interpret_layers(integers, region, quantize_input(region.types[0], inputs))[-1]
    found = (made.astype(np.float64) - output.zero_point) * output.scale
    assert np.abs(found[:, 0] - bias).max() <= 0.51 * output.scale


def test_accumulator_that_can_overflow() -> None:
    wide = dense(np.ones((1, 65535)), [1e3])
    inputs = np.linspace(0, 1, 65535, dtype=np.float32)[None]
    with pytest.raises(GraphError, match="fc: the accumulator can overflow int32"):
        quantize(wide, calibrate(wide, inputs))


def test_equalising_keeps_the_function() -> None:
    for seed in range(60):
        model = float_model(seed)
        inputs = float_inputs(model, seed, 8)
        other = verify(equalize(model, inputs))
        for region, twin in zip(model.regions, other.regions, strict=True):
            expected = interpret_float(model, region, inputs)
            found = interpret_float(other, twin, inputs)
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
