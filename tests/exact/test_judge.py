"""The interpreter equals LiteRT's reference kernels on every layer, in every region."""

import dataclasses
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from conftest import require
from graphs import (
    RICH,
    extreme_model,
    first_difference,
    int8_inputs,
    narrow_model,
    quantized_model,
)

from tesla_embed.errors import ToolchainError, UnsupportedOp
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.interpret import interpret, interpret_layers
from tesla_embed.ir.ops import (
    Activation,
    AveragePool2D,
    Conv2D,
    FullyConnected,
    MaxPool2D,
    Op,
    Window,
)
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify
from tesla_embed.tflite.export import to_tflite
from tesla_host.judge import judge_layers


@pytest.fixture(autouse=True)
def _litert() -> None:
    def find() -> object:
        try:
            import ai_edge_litert.interpreter as interpreter
        except ImportError as error:
            raise ToolchainError("LiteRT is not installed; run: pip install '.[oracle]'") from error
        return interpreter

    require(find)


def disagreements(model: Model, seed: int, samples: int = 5) -> list[str]:
    """Where judge and interpreter differ first, for every region."""
    inputs, found = int8_inputs(model, seed, samples), []
    for region in model.regions:
        ours = interpret_layers(model, region, inputs)
        judged = judge_layers(model, region, inputs)
        for op, layer, wanted in zip(model.graph.ops, ours, judged, strict=True):
            where = f"seed {seed}, {region.dp} %, {op.name}"
            if difference := first_difference(where, layer, wanted):
                found.append(difference)
                break
    return found


@pytest.mark.parametrize("make", [quantized_model, extreme_model, narrow_model])
def test_random_models(make: Callable[..., Model]) -> None:
    found = [d for seed in range(150) for d in disagreements(make(seed, portable=True), seed)]
    assert found == []


def one_layer(
    op: Op, shapes: tuple[tuple[int, ...], tuple[int, ...]], table: Table | None
) -> Model:
    """A model of one operation at full width, zero points far from zero."""
    scales = (0.05, 0.05) if table is None else (0.05, 0.08)
    zeros = (-17, -17) if table is None else (-17, 23)
    types = tuple(
        TensorType(
            shape=shape,
            channels=shape[-1],
            quantization=Quantization(scale=float(np.float32(scale)), zero_point=zero),
        )
        for shape, scale, zero in zip(shapes, scales, zeros, strict=True)
    )
    tensors = tuple(
        Tensor(name=name, type=dataclasses.replace(type_, quantization=None))
        for name, type_ in zip("xy", types, strict=True)
    )
    graph = Graph(tensors=tensors, ops=(op,), input=0, output=1)
    region = Region(dp=100, types=types, tables=(table,))
    return verify(Model(name="one", graph=graph, regions=(region,)))


def weights_and_table(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Weights, Table]:
    scale = rng.uniform(0.001, 0.01, shape[0]).astype(np.float32).astype(np.float64)
    data = rng.integers(-127, 128, shape).astype(np.int8)
    bias = rng.integers(-2000, 2000, shape[0]).astype(np.int32)
    return Weights(data=data, scale=scale), Table(bias=bias, weight_scale=scale.copy())


@pytest.mark.parametrize("activation", Activation)
def test_every_padding_of_a_convolution(activation: Activation) -> None:
    """All explicit paddings of a 3 x 2 window, strides 1 and 2, on a 4 x 3 image."""
    rng = np.random.default_rng(0)
    for top, bottom, left, right, stride in product(range(3), range(3), range(2), range(2), (1, 2)):
        weights, table = weights_and_table(rng, (3, 3, 2, 2))
        window = Window(
            height=3,
            width=2,
            stride_height=stride,
            stride_width=3 - stride,
            pad_top=top,
            pad_bottom=bottom,
            pad_left=left,
            pad_right=right,
        )
        op = Conv2D(
            name="conv",
            inputs=(0,),
            output=1,
            weights=weights,
            window=window,
            activation=activation,
        )
        model = one_layer(op, ((4, 3, 2), (*window.output_size(4, 3), 3)), table)
        assert disagreements(model, 0, 3) == [], window


@pytest.mark.parametrize("kind", [MaxPool2D, AveragePool2D])
def test_every_same_and_valid_pool(kind: type[MaxPool2D] | type[AveragePool2D]) -> None:
    for length, size, stride in product(range(1, 8), range(1, 5), range(1, 4)):
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        for pads in {(0, 0), (total // 2, total - total // 2)}:
            window = Window(
                height=size,
                width=size,
                stride_height=stride,
                stride_width=stride,
                pad_top=pads[0],
                pad_bottom=pads[1],
                pad_left=pads[0],
                pad_right=pads[1],
            )
            rows = window.output_size(length, length)[0]
            if rows < 1:
                continue
            op = kind(name="pool", inputs=(0,), output=1, window=window)
            model = one_layer(op, ((length, length, 3), (rows, rows, 3)), None)
            assert disagreements(model, length, 4) == [], (length, size, stride, pads)


def test_average_rounds_every_sum_of_small_windows_alike() -> None:
    """All sums of 1 to 4 values around every tie."""
    for size in range(1, 5):
        window = Window(height=1, width=size)
        op = AveragePool2D(name="pool", inputs=(0,), output=1, window=window)
        model = one_layer(op, ((1, size, 1), (1, 1, 1)), None)
        inputs = np.zeros((41, 1, size, 1), np.int8)
        inputs[:, 0, 0, 0] = np.arange(-20, 21)
        region = model.regions[0]
        judged = judge_layers(model, region, inputs)[0]
        assert not first_difference("pool", interpret(model, region, inputs), judged)


@pytest.mark.parametrize("kind", [MaxPool2D, AveragePool2D])
def test_pool_that_tflite_cannot_express(kind: type[MaxPool2D] | type[AveragePool2D]) -> None:
    op = kind(name="pool", inputs=(0,), output=1, window=Window(height=3, width=3, pad_top=2))
    model = one_layer(op, ((4, 4, 1), (4, 2, 1)), None)
    with pytest.raises(UnsupportedOp, match="pool: TensorFlow Lite pools pad 'same' or not"):
        to_tflite(model, model.regions[0])


def test_scales_that_litert_calls_inconsistent() -> None:
    """Refused by us, by name, where LiteRT would refuse the file; just below, both take it."""
    weights = Weights(data=np.ones((1, 1), np.int8), scale=np.ones(1))
    refused = 0
    for exponent in np.arange(19.0, 25.0, 0.05):
        scale = np.float32(np.array([2.0**exponent / 3])).astype(np.float64)
        table = Table(bias=np.zeros(1, np.int32), weight_scale=scale)
        op = FullyConnected(name="fc", inputs=(0,), output=1, weights=weights)
        model = one_layer(op, ((1,), (1,)), table)
        try:
            to_tflite(model, model.regions[0])
        except UnsupportedOp as error:
            assert "fc: a unit of its sum is" in str(error)
            refused += 1
            continue
        assert disagreements(model, 0, 3) == []
    assert 20 < refused < 100


def test_large_accumulators_and_all_zero_points() -> None:
    rng = np.random.default_rng(3)
    for zero_point in (-128, -1, 0, 1, 127):
        weights, table = weights_and_table(rng, (4, 3000))
        op = FullyConnected(name="fc", inputs=(0,), output=1, weights=weights)
        model = one_layer(op, ((3000,), (4,)), table)
        region = model.regions[0]
        q = Quantization(scale=0.5, zero_point=zero_point)
        types = tuple(dataclasses.replace(type_, quantization=q) for type_ in region.types)
        model = dataclasses.replace(model, regions=(dataclasses.replace(region, types=types),))
        assert disagreements(verify(model), zero_point % 7, 20) == []


@pytest.mark.parametrize("power_of_two", [False, True])
def test_fully_connected_layers_next_to_every_tie(power_of_two: bool) -> None:
    """Sums beside all halves of an output step, where rounding twice or once would show."""
    rng = np.random.default_rng(11)
    compared = 0
    for trial in range(30):
        scales = 2.0 ** rng.integers(-9, 0, 2) if power_of_two else rng.uniform(0.002, 0.5, 2)
        weight_scale, target_scale = scales.astype(np.float32).astype(np.float64)
        zeros = rng.integers(-128, 128, 2)
        entry_scale = 2.0**-4 if power_of_two else float(np.float32(0.05))
        factor = entry_scale * weight_scale / target_scale
        halves = np.arange(-260, 260) + 0.5
        sums = np.concatenate([np.rint(halves / factor) + nudge for nudge in (-1, 0, 1)])
        bias = sums.astype(np.int32)
        count = len(bias)
        weights = Weights(data=np.zeros((count, 1), np.int8), scale=np.full(count, weight_scale))
        table = Table(bias=bias, weight_scale=np.full(count, weight_scale))
        op = FullyConnected(name="fc", inputs=(0,), output=1, weights=weights)
        model = one_layer(op, ((1,), (count,)), table)
        region = model.regions[0]
        ends = [
            Quantization(scale=float(scale), zero_point=int(zero))
            for scale, zero in zip((entry_scale, target_scale), zeros, strict=True)
        ]
        types = tuple(
            dataclasses.replace(type_, quantization=q)
            for type_, q in zip(region.types, ends, strict=True)
        )
        model = dataclasses.replace(model, regions=(dataclasses.replace(region, types=types),))
        assert disagreements(verify(model), trial, 2) == [], trial
        compared += count
    assert compared > 40_000


def test_judge_notices_a_wrong_interpreter() -> None:
    """The comparison itself: a bias that is off by enough to move the output must show."""
    model = quantized_model(RICH, portable=True)
    region, inputs = model.regions[-1], int8_inputs(model, RICH, 5)
    index = next(i for i, table in enumerate(region.tables) if table is not None)
    table = region.tables[index]
    assert table is not None
    wrong = Table(
        bias=table.bias.astype(np.int32) + np.int32(3000), weight_scale=table.weight_scale
    )
    tables = (*region.tables[:index], wrong, *region.tables[index + 1 :])
    spoilt = dataclasses.replace(region, tables=tables)
    judged = judge_layers(model, spoilt, inputs)[index]
    assert first_difference("layer", interpret_layers(model, region, inputs)[index], judged)


def test_tflite_is_deterministic_and_has_one_output() -> None:
    model = quantized_model(RICH, portable=True)
    content = to_tflite(model, model.regions[0])
    assert content[4:8] == b"TFL3"
    assert content == to_tflite(model, model.regions[0])
    import ai_edge_litert.interpreter as litert

    interpreter = litert.Interpreter(model_content=content)
    assert len(interpreter.get_output_details()) == 1
