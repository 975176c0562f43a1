"""The interpreters against plain loops that stride over the one copy of the weights."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import assert_never

import numpy as np
import pytest
from graphs import (
    Int8,
    extreme_model,
    first_difference,
    float_inputs,
    float_model,
    int8_inputs,
    quantized_model,
)
from test_ir_fixedpoint import double_rounded, round_half_away

from tesla_embed.errors import ConfigError
from tesla_embed.ir.fixedpoint import quantize_multiplier
from tesla_embed.ir.graph import Model, Region, Table
from tesla_embed.ir.interpret import interpret, interpret_layers
from tesla_embed.ir.interpret_float import float_activations, interpret_float
from tesla_embed.ir.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Op,
    Reshape,
    Weighted,
    Window,
)
from tesla_embed.ir.requantization import activation_range, quantization, rescale_factors
from tesla_embed.ir.types import TensorType


def taps(window: Window, y: int, x: int, image: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """(row, column) of the window and of the image, for every tap inside the image."""
    found = []
    for i, j in itertools.product(range(window.height), range(window.width)):
        row = y * window.stride_height - window.pad_top + i * window.dilation_height
        column = x * window.stride_width - window.pad_left + j * window.dilation_width
        if 0 <= row < image[0] and 0 <= column < image[1]:
            found.append((i, j, row, column))
    return found


def finish(
    op: Weighted, table: Table, ends: tuple[TensorType, TensorType]
) -> Callable[[int, int], int]:
    """A function from accumulators without bias to outputs, exact."""
    zero_point = quantization(ends[1]).zero_point
    low, high = activation_range(op.activation, quantization(ends[1]))
    factors = rescale_factors(*ends, table)
    scaled = quantize_multiplier(factors)
    multipliers, shifts = scaled.multiplier.tolist(), scaled.shift.tolist()

    def apply(channel: int, total: int) -> int:
        value = total + int(table.bias[channel])
        if isinstance(op, FullyConnected):  # rounded through float64, as TensorFlow Lite does
            value = round_half_away(Fraction(float(value) * float(factors[channel])))
        else:
            value = double_rounded(value, multipliers[channel], shifts[channel])
        return max(low, min(high, value + zero_point))

    return apply


def naive_fully_connected(
    op: FullyConnected, table: Table, full: TensorType, ends: tuple[TensorType, TensorType], x: Int8
) -> Int8:
    source, target = ends
    done, zero = finish(op, table, ends), quantization(source).zero_point
    y = np.empty(target.shape, np.int8)
    for o in range(target.channels):
        total = 0
        for group in range(source.positions):
            for channel in range(source.channels):
                weight = int(op.weights.data[o, group * full.channels + channel])
                total += (int(x[group * source.channels + channel]) - zero) * weight
        y[o] = done(o, total)
    return y


def naive_conv(op: Conv2D, table: Table, ends: tuple[TensorType, TensorType], x: Int8) -> Int8:
    source, target = ends
    done, zero = finish(op, table, ends), quantization(source).zero_point
    y = np.empty(target.shape, np.int8)
    for row, column, o in np.ndindex(*target.shape):
        total = 0
        for i, j, r, c in taps(op.window, row, column, x.shape):
            for channel in range(source.channels):
                total += (int(x[r, c, channel]) - zero) * int(op.weights.data[o, i, j, channel])
        y[row, column, o] = done(o, total)
    return y


def naive_pool(op: MaxPool2D | AveragePool2D, target: TensorType, x: Int8) -> Int8:
    y = np.empty(target.shape, np.int8)
    for row, column, channel in np.ndindex(*target.shape):
        seen = [int(x[r, c, channel]) for _, _, r, c in taps(op.window, row, column, x.shape)]
        if isinstance(op, MaxPool2D):
            y[row, column, channel] = max(seen)
        else:
            mean = Fraction(sum(seen), len(seen))
            away = int(abs(mean) + Fraction(1, 2))
            y[row, column, channel] = away if mean > 0 else -away
    return y


def naive_depthwise(
    op: DepthwiseConv2D, table: Table, ends: tuple[TensorType, TensorType], x: Int8
) -> Int8:
    source, target = ends
    done, zero = finish(op, table, ends), quantization(source).zero_point
    multiplier = target.channels // source.channels
    y = np.empty(target.shape, np.int8)
    for row, column, o in np.ndindex(*target.shape):
        total = 0
        for i, j, r, c in taps(op.window, row, column, x.shape):
            total += (int(x[r, c, o // multiplier]) - zero) * int(op.weights.data[o, i, j])
        y[row, column, o] = done(o, total)
    return y


def naive_add(op: Add, types: list[TensorType], first: Int8, second: Int8) -> Int8:
    """The definition in Python's integers, from the scales themselves."""
    q = [quantization(type_) for type_ in types]
    common = 2 * max(q[0].scale, q[1].scale)
    factors = [q[0].scale / common, q[1].scale / common, common / (2.0**20 * q[2].scale)]
    scaled = [quantize_multiplier(np.array([factor])) for factor in factors]
    numbers = [(int(f.multiplier[0]), int(f.shift[0])) for f in scaled]
    low, high = activation_range(op.activation, q[2])
    y = np.empty(types[2].size, np.int8)
    for i, pair in enumerate(zip(first.reshape(-1), second.reshape(-1), strict=True)):
        total = sum(
            double_rounded((int(x) - side.zero_point) << 20, *number)
            for x, side, number in zip(pair, q[:2], numbers[:2], strict=True)
        )
        y[i] = max(low, min(high, double_rounded(total, *numbers[2]) + q[2].zero_point))
    return y.reshape(types[2].shape)


def naive(model: Model, region: Region, op: Op, *inputs: Int8) -> Int8:
    index = model.graph.ops.index(op)
    ends, table = (region.types[op.input], region.types[op.output]), region.tables[index]
    x = inputs[0]
    match op:
        case FullyConnected():
            assert table is not None
            return naive_fully_connected(op, table, model.graph.tensors[op.input].type, ends, x)
        case Conv2D():
            assert table is not None
            return naive_conv(op, table, ends, x)
        case DepthwiseConv2D():
            assert table is not None
            return naive_depthwise(op, table, ends, x)
        case MaxPool2D() | AveragePool2D():
            return naive_pool(op, ends[1], x)
        case Add():
            return naive_add(op, [region.types[i] for i in (*op.inputs, op.output)], *inputs)
        case Reshape():
            return x.reshape(ends[1].shape)
        case _:
            assert_never(op)


@pytest.mark.parametrize("make", [quantized_model, extreme_model])
def test_every_layer_equals_plain_loops(make: Callable[[int], Model]) -> None:
    for seed in range(25):
        model = make(seed)
        inputs = int8_inputs(model, seed, 3)
        for region in model.regions:
            layers = interpret_layers(model, region, inputs)
            values = {model.graph.input: inputs}
            for op, layer in zip(model.graph.ops, layers, strict=True):
                expected = naive(model, region, op, *(values[i][-1] for i in op.inputs))
                where = f"seed {seed}, {region.dp} %, {op.name}"
                assert not first_difference(where, layer[-1], expected)
                values[op.output] = layer


def test_float_layers_equal_integer_loops_on_whole_numbers() -> None:
    """Float layers on small whole numbers are exact, hence equal to int64 arithmetic."""
    for seed in range(20):
        model = float_model(seed)
        region = model.regions[0]
        inputs = np.rint(float_inputs(model, seed, 3))
        for op, table in zip(model.graph.ops, region.tables, strict=True):
            if not isinstance(op, FullyConnected) or table is None:
                continue
            values = next(iter(float_activations(model, region, inputs)))
            source, full = region.types[op.input], model.graph.tensors[op.input].type
            x = values[op.input].reshape(3, source.positions, source.channels).astype(np.float64)
            wide = np.zeros((3, full.positions, full.channels))
            wide[..., : source.channels] = x
            count = region.types[op.output].channels
            rows = op.weights.data.reshape(len(op.weights.data), -1)[:count].astype(np.float64)
            y = wide.reshape(3, -1) @ rows.T + table.bias.astype(np.float64)
            limits = {"none": (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}
            expected = np.clip(y, *limits[op.activation.value])
            np.testing.assert_allclose(values[op.output], expected, rtol=1e-4, atol=1e-5)


def test_output_is_the_last_layer_whatever_the_batch() -> None:
    model = quantized_model(5)
    inputs = int8_inputs(model, 0, 600)  # more than the interpreter computes at a time
    for region in model.regions:
        whole = interpret(model, region, inputs)
        assert not first_difference("whole", whole, interpret_layers(model, region, inputs)[-1])
        one = interpret(model, region, inputs[431:432])
        assert not first_difference("single", one, whole[431:432])


def test_no_samples_give_no_outputs() -> None:
    model = quantized_model(5)
    shape = model.graph.tensors[model.graph.output].type.shape
    assert interpret(model, model.regions[0], int8_inputs(model, 0, 0)).shape == (0, *shape)


@pytest.mark.parametrize("spoil", [lambda x: x.astype(np.int32), lambda x: x[..., :0]])
def test_refuses_inputs_of_another_type_or_shape(spoil: Callable[[Int8], Int8]) -> None:
    model = quantized_model(5)
    with pytest.raises(ConfigError, match="takes int8 inputs of shape"):
        interpret(model, model.regions[0], spoil(int8_inputs(model, 0, 2)))


def test_float_output_is_that_of_the_last_operation_whatever_its_number() -> None:
    shuffled = 0
    for seed in range(20):
        model = float_model(seed)
        shuffled += model.graph.output != len(model.graph.tensors) - 1
        inputs = float_inputs(model, 0, 300)
        for region in model.regions:
            values = list(float_activations(model, region, inputs))
            last = np.concatenate([value[model.graph.ops[-1].output] for value in values])
            np.testing.assert_array_equal(interpret_float(model, region, inputs), last)
    assert shuffled
