"""Equalisation keeps the float function and rescues starved channels."""

import numpy as np

from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.ir.ops import Activation, FullyConnected
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


def test_relu6_is_left_alone() -> None:
    model = steep_model(Activation.RELU6)
    balanced = equalize(model, samples())
    for before, after in zip(model.graph.ops, balanced.graph.ops, strict=True):
        assert isinstance(before, FullyConnected)
        assert isinstance(after, FullyConnected)
        np.testing.assert_array_equal(before.weights.data, after.weights.data)
