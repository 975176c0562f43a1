"""Operation by operation, over all values and odd scales: the interpreter equals LiteRT."""

import dataclasses
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from conftest import require
from graphs import Int8, first_difference

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.interpret import interpret_layers
from tesla_embed.ir.ops import (
    UNIT,
    Activation,
    Add,
    Conv2D,
    DepthwiseConv2D,
    Logistic,
    Mean,
    Op,
    Rescale,
    Softmax,
    Window,
)
from tesla_embed.ir.requantization import quantize_input
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify
from tesla_embed.tflite.builder import Builder
from tesla_host.judge import judge_layers, run_file

ALL = np.arange(-128, 128).astype(np.int8)


@pytest.fixture(autouse=True)
def _litert() -> None:
    def find() -> object:
        try:
            import ai_edge_litert.interpreter as interpreter
        except ImportError as error:
            raise ToolchainError("LiteRT is not installed; run: pip install '.[oracle]'") from error
        return interpreter

    require(find)


def quantized(scale: float, zero_point: int) -> Quantization:
    return Quantization(scale=float(np.float32(scale)), zero_point=zero_point)


def odd(rng: np.random.Generator, low: float = -12, high: float = 6) -> Quantization:
    """Any scale from 2^low to 2^high and any zero point."""
    return quantized(2.0 ** rng.uniform(low, high), int(rng.integers(-128, 128)))


def graph_of(
    ops: Sequence[Op],
    shapes: Sequence[tuple[int, ...]],
    scales: Sequence[Quantization],
    tables: Sequence[Table | None] = (),
) -> Model:
    """A model of one region; tensor i has shape and scale i."""
    types = tuple(
        TensorType(shape=shape, channels=shape[-1], quantization=q)
        for shape, q in zip(shapes, scales, strict=True)
    )
    tensors = tuple(
        Tensor(name=f"t{i}", type=dataclasses.replace(type_, quantization=None))
        for i, type_ in enumerate(types)
    )
    graph = Graph(tensors=tensors, ops=tuple(ops), input=0, output=len(shapes) - 1)
    region = Region(dp=100, types=types, tables=tuple(tables) or (None,) * len(ops))
    return verify(Model(name="one", graph=graph, regions=(region,)))


def disagreements(model: Model, inputs: Int8) -> str:
    region = model.regions[0]
    ours, judged = (f(model, region, inputs) for f in (interpret_layers, judge_layers))
    found = [
        first_difference(op.name, *pair)
        for op, *pair in zip(model.graph.ops, ours, judged, strict=True)
    ]
    return next((text for text in found if text), "")


@pytest.mark.parametrize("activation", Activation)
def test_every_pair_of_an_addition(activation: Activation) -> None:
    """Two convolutions take an image apart into the two sides, which thus meet in all pairs."""
    rng = np.random.default_rng(list(Activation).index(activation))
    pairs = np.array(list(product(ALL, ALL)), np.int8).reshape(1, 256, 256, 2)
    for _ in range(6):
        entry, output = odd(rng, -4, 2), odd(rng, -8, 5)
        ops: list[Op] = []
        tables, sides = [], []
        for side in (0, 1):
            factor = float(np.float32(2.0 ** rng.uniform(-3, 3)))  # one is one: integers stay
            data = np.zeros((1, 1, 1, 2), np.int8)
            data[..., side] = 1
            weights = Weights(data=data, scale=np.array([factor]))
            ops.append(
                Conv2D(
                    name=f"side{side}", inputs=(0,), output=side + 1, weights=weights,
                    window=Window(height=1, width=1),
                )
            )  # fmt: skip
            tables.append(Table(bias=np.zeros(1, np.int32), weight_scale=np.array([factor])))
            sides.append(quantized(entry.scale * factor, entry.zero_point))
        ops.append(Add(name="add", inputs=(1, 2), output=3, activation=activation))
        shapes = [(256, 256, 2), *[(256, 256, 1)] * 3]
        model = graph_of(ops, shapes, [entry, *sides, output], [*tables, None])
        assert not disagreements(model, pairs)


@pytest.mark.parametrize("activation", Activation)
def test_every_value_of_a_rescaling(activation: Activation) -> None:
    rng = np.random.default_rng(1)
    for number in range(60):
        entry = odd(rng)
        ratio = 2.0 ** rng.uniform(-22, 9) if number % 4 else 1.0
        exit_ = quantized(entry.scale * ratio, int(rng.integers(-128, 128)))
        op = Rescale(name="rescale", inputs=(0,), output=1, activation=activation)
        assert not disagreements(graph_of([op], [(256,)] * 2, [entry, exit_]), ALL[None])


def test_every_value_of_the_logistic_function() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        op = Logistic(name="logistic", inputs=(0,), output=1)
        assert not disagreements(graph_of([op], [(256,)] * 2, [odd(rng), UNIT]), ALL[None])


def test_softmax_of_every_length() -> None:
    rng = np.random.default_rng(3)
    for length in [*range(1, 40), 100, 255, 256, 257, 510, 511]:
        entry = odd(rng, -25, 8)
        inputs = rng.integers(-128, 128, (8, length)).astype(np.int8)
        inputs[0], inputs[1] = 127, np.minimum(inputs[1], -100)
        op = Softmax(name="softmax", inputs=(0,), output=1)
        assert not disagreements(graph_of([op], [(length,)] * 2, [entry, UNIT]), inputs), entry


def test_softmax_of_every_difference() -> None:
    """All pairs of values, at scales from where nothing matters to where only equality does."""
    pairs = np.array(list(product(ALL[::3], ALL)), np.int8)
    for exponent in np.arange(-10, 6, 0.7):
        op = Softmax(name="softmax", inputs=(0,), output=1)
        entry = quantized(2.0**exponent, 5)
        assert not disagreements(graph_of([op], [(2,)] * 2, [entry, UNIT]), pairs)


def test_means_of_every_size() -> None:
    rng = np.random.default_rng(4)
    for height, width in product([1, 2, 3, 5, 8, 16, 31, 32], [1, 2, 3, 7, 33]):
        entry = odd(rng)
        exit_ = quantized(entry.scale * 2.0 ** rng.uniform(-6, 6), int(rng.integers(-128, 128)))
        inputs = rng.integers(-128, 128, (2, height, width, 20)).astype(np.int8)
        inputs[..., 0], inputs[..., 1] = -128, 127
        for scales in ([entry, exit_], [entry, entry]):
            op = Mean(name="mean", inputs=(0,), output=1)
            model = graph_of([op], [(height, width, 20), (1, 1, 20)], scales)
            assert not disagreements(model, inputs)


@pytest.mark.parametrize("multiplier", [1, 3])
def test_every_padding_of_dilated_depthwise_filters(multiplier: int) -> None:
    rng = np.random.default_rng(5)
    for top, bottom, side, stride, apart in product(
        range(3), range(3), range(2), (1, 2), (1, 2, 3)
    ):
        window = Window(
            height=2, width=3, stride_height=stride, stride_width=3 - stride,
            dilation_height=apart, dilation_width=4 - apart, pad_top=top * apart // 2,
            pad_bottom=bottom * apart // 2, pad_left=side, pad_right=side,
        )  # fmt: skip
        size = window.output_size(5, 9)
        if min(size) < 1 or max(window.pad_top, window.pad_bottom) >= window.reach[0]:
            continue
        count = 2 * multiplier
        scale = rng.uniform(0.001, 0.01, count).astype(np.float32).astype(np.float64)
        data = rng.integers(-127, 128, (count, 2, 3)).astype(np.int8)
        op = DepthwiseConv2D(
            name="depthwise", inputs=(0,), output=1, window=window,
            weights=Weights(data=data, scale=scale), activation=Activation.RELU6,
        )  # fmt: skip
        bias = rng.integers(-2000, 2000, count).astype(np.int32)
        table = Table(bias=bias, weight_scale=scale.copy())
        scales = [quantized(0.05, -17), quantized(0.08, -23)]
        model = graph_of([op], [(5, 9, 2), (*size, count)], scales, [table])
        inputs = rng.integers(-128, 128, (3, 5, 9, 2)).astype(np.int8)
        assert not disagreements(model, inputs), window


def boundary(name: str, q: Quantization, values: np.ndarray) -> np.ndarray:
    """LiteRT's QUANTIZE or DEQUANTIZE of a vector."""
    builder = Builder(1)
    type_ = TensorType(shape=(values.size,), channels=values.size, quantization=q)
    ends = [builder.activation(end, type_) for end in ("x", "y")]
    real = builder.tensors[ends[name == "DEQUANTIZE"]]
    real.type, real.quantization = builder.schema.TensorType.FLOAT32, None
    builder.operator(name, 2, [ends[0]], ends[1])
    return run_file(builder.pack(ends[0], [ends[1]]), values)[0].reshape(-1)


def test_the_ends_of_a_graph_are_quantised_as_litert_does() -> None:
    """`quantize_input` is QUANTIZE; the helper in C equals it (test_generated_api)."""
    rng = np.random.default_rng(6)
    for _ in range(50):
        q = odd(rng)
        halves = (np.arange(-300, 300) / 2).astype(np.float32) * np.float32(q.scale)
        values = np.concatenate([halves, rng.normal(0, 100 * q.scale, 400).astype(np.float32)])
        type_ = TensorType(shape=(values.size,), channels=1, quantization=q)
        ours = quantize_input(type_, values[None])[0]
        assert not first_difference("quantize", ours, boundary("QUANTIZE", q, values))
        real = (ALL.astype(np.int32) - q.zero_point).astype(np.float32) * np.float32(q.scale)
        assert np.array_equal(real, boundary("DEQUANTIZE", q, ALL))
