"""Equalisation keeps the float function and rescues starved channels."""

import numpy as np
import pytest
from graphs import float_inputs, float_model
from graphs.grow import Builder, Cell
from graphs.models import finish

from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.ir.ops import Activation, FullyConnected, Weighted
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.types import DType, Tensor, TensorType, Weights
from tesla_embed.quant import calibrate, quantize
from tesla_embed.quant.equalize import equalize

WIDTHS = (12, 64, 5)


def steep_model(activation: Activation = Activation.RELU, dead: bool = False) -> Model:
    """Two layers; the consumer's columns fall like 1/i**2, as a steep profile leaves them."""
    rng = np.random.default_rng(3)
    tensors = tuple(
        Tensor(name=f"t{i}", type=TensorType(shape=(n,), channels=n, dtype=DType.FLOAT32))
        for i, n in enumerate(WIDTHS)
    )
    first = rng.normal(size=(64, 12)) * np.arange(1, 65)[:, None]
    second = rng.normal(size=(5, 64)) / np.arange(1, 65) ** 2
    if dead:
        first[7], second[:, 9] = 0, 0
    ops = tuple(
        FullyConnected(
            name=f"fc{i + 1}",
            inputs=(i,),
            output=i + 1,
            weights=Weights(data=data.astype(np.float32)),
            activation=activation if i == 0 else Activation.NONE,
        )
        for i, data in enumerate((first, second))
    )
    tables = tuple(Table(bias=np.zeros(n, np.float32)) for n in WIDTHS[1:])
    region = Region(dp=100, types=tuple(tensor.type for tensor in tensors), tables=tables)
    graph = Graph(tensors=tensors, ops=ops, input=0, output=2)
    return Model(name="steep", graph=graph, regions=(region,))


def samples() -> np.ndarray:
    return np.random.default_rng(4).random((200, 12)).astype(np.float32)


def int8_error(model: Model) -> float:
    x = samples()
    exact = interpret_float(model, model.regions[0], x)
    integer = quantize(model, calibrate(model, x))
    region = integer.regions[0]
    q = quantization(region.types[-1])
    y = interpret(integer, region, quantize_input(region.types[0], x))
    real = (y.astype(np.float64) - q.zero_point) * q.scale
    return float(np.sqrt(np.mean((real - exact) ** 2)) / exact.std())


def test_function_is_unchanged() -> None:
    for dead in (False, True):
        model = steep_model(dead=dead)
        before = interpret_float(model, model.regions[0], samples())
        balanced = equalize(model, samples())
        after = interpret_float(balanced, balanced.regions[0], samples())
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


def test_starved_channels_are_rescued() -> None:
    model = steep_model()
    assert int8_error(equalize(model, samples())) < 0.5 * int8_error(model)


@pytest.mark.parametrize("activation", [Activation.RELU6, Activation.RELU_N1_TO_1])
def test_activations_that_end_above_are_left_alone(activation: Activation) -> None:
    model = steep_model(activation)
    balanced = equalize(model, samples())
    for before, after in zip(model.graph.ops, balanced.graph.ops, strict=True):
        assert isinstance(before, FullyConnected)
        assert isinstance(after, FullyConnected)
        np.testing.assert_array_equal(before.weights.data, after.weights.data)


def test_graphs_that_branch_keep_their_function() -> None:
    """Additions, concatenations and depthwise filters; some tensors have several readers."""
    for seed in range(60):
        model = float_model(seed)
        x = float_inputs(model, seed, 8)
        balanced = equalize(model, x)
        for region, after in zip(model.regions, balanced.regions, strict=True):
            before = interpret_float(model, region, x)
            found = interpret_float(balanced, after, x)
            scale = max(1.0, float(np.abs(before).max()))
            np.testing.assert_allclose(found, before, rtol=1e-3, atol=1e-4 * scale)


def test_a_tensor_with_two_readers_is_left_alone() -> None:
    """A residual: rescaling one of its channels would have to change both ways."""
    builder = Builder(np.random.default_rng(0), portable=True)
    builder.begin((4, 4, 2))
    builder.conv(Cell(4), style="keep")
    start = builder.at
    builder.conv(Cell(4), style="keep")
    builder.sum(start, builder.at)
    builder.conv(Cell(3), style="keep")
    model = finish(builder, "net", dps=(100,))
    x = float_inputs(model, 0, 8)
    for before, after in zip(model.graph.ops, equalize(model, x).graph.ops, strict=True):
        if isinstance(before, Weighted):
            assert isinstance(after, Weighted)
            np.testing.assert_array_equal(before.weights.data, after.weights.data)
