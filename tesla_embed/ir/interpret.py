"""The integer interpreter: it defines what every other implementation must compute.

NumPy, batched: activations are `[N, *shape]` int8. Sums are formed by float64 matrix products,
which are exact here (every partial sum is an integer below 2**53) and fast.
"""

from typing import assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError, GraphError
from tesla_embed.ir.exponential import exp_of_negative, reciprocal
from tesla_embed.ir.fixedpoint import (
    Int64,
    doubling_high_mul,
    requantize,
    requantize_once,
    rounding_shift_right,
)
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Logistic,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Rescale,
    Reshape,
    Softmax,
    Weighted,
    Window,
)
from tesla_embed.ir.requantization import quantization, requantization
from tesla_embed.ir.scaling import (
    ADD_SHIFT,
    AddScaling,
    Rescaling,
    SoftmaxScaling,
    add_scaling,
    logistic_table,
    mean_rescaling,
    rescaling,
    softmax_scaling,
)
from tesla_embed.ir.specialize import specialize
from tesla_embed.ir.types import TensorType
from tesla_embed.ir.windows import filtered_apart, patches

Int8 = npt.NDArray[np.int8]
_BATCH = 256
_BATCH_BYTES = 2**28
"""Samples computed at a time, and about the memory they may take: convolutions are unfolded."""


def interpret(model: Model, region: Region, inputs: Int8) -> Int8:
    """Outputs `[N, *output shape]` for `inputs` `[N, *input shape]` in one region."""
    dense = specialize(model, region)
    step = max(1, min(_BATCH, _BATCH_BYTES // _sample_bytes(dense)))
    parts = [_run(dense, inputs[start : start + step])[-1] for start in range(0, len(inputs), step)]
    shape = dense.graph.tensors[dense.graph.output].type.shape
    return np.concatenate(parts) if parts else np.empty((0, *shape), np.int8)


def interpret_layers(model: Model, region: Region, inputs: Int8) -> list[Int8]:
    """The output of every operation, in order, for a (small) batch of inputs."""
    return _run(specialize(model, region), inputs)


def _sample_bytes(dense: Model) -> int:
    """About what the largest operation takes for one sample: float64 of every tap of a window."""
    largest = 1
    for op in dense.graph.ops:
        source, target = (dense.graph.tensors[i].type for i in (op.input, op.output))
        taps = 1
        if isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D):
            taps = op.window.height * op.window.width
        unfolded = target.positions * taps * source.channels
        largest = max(largest, 8 * unfolded, 16 * target.size, 8 * source.size)
    return largest


def _run(dense: Model, inputs: Int8) -> list[Int8]:
    graph, region = dense.graph, dense.regions[0]
    type_ = graph.tensors[graph.input].type
    if inputs.dtype != np.int8 or inputs.shape[1:] != type_.shape:
        raise ConfigError(
            f"{dense.name} takes int8 inputs of shape (N, {', '.join(map(str, type_.shape))}), "
            f"not {inputs.dtype} {inputs.shape}"
        )
    values = {graph.input: inputs}
    for op, table in zip(graph.ops, region.tables, strict=True):
        values[op.output] = apply_op(op, table, graph, values)
    return [values[op.output] for op in graph.ops]


def apply_op(op: Op, table: Table | None, graph: Graph, values: dict[int, Int8]) -> Int8:
    """The output `[N, *shape]` of one operation of a dense graph, given the values it reads."""
    x, source = values[op.input], graph.tensors[op.input].type
    target = graph.tensors[op.output].type
    match op:
        case FullyConnected() | Conv2D() | DepthwiseConv2D():
            return _weighted(op, table, source, target, x)
        case MaxPool2D():
            lowest = np.iinfo(np.int8).min
            largest: Int8 = patches(x, op.window, lowest).max(axis=(3, 4))
            return largest
        case AveragePool2D():
            return _average(x, op.window)
        case Reshape():
            return x.reshape(len(x), *target.shape)
        case Concat():
            pieces = [_scaled_input(graph, values, i, target) for i in op.inputs]
            return np.concatenate(pieces, axis=op.axis + 1)
        case Pad():
            around = ((0, 0), (op.top, op.bottom), (op.left, op.right), (0, 0))
            return np.pad(x, around, constant_values=quantization(source).zero_point)
        case Mean():
            q = mean_rescaling(source, target)
            sums = (x.astype(np.int64) + q.input_offset).sum(axis=(1, 2), keepdims=True)
            return _rescale(sums, q)
        case Rescale():
            q = rescaling(source, target, op.activation)
            return _rescale(x.astype(np.int64) + q.input_offset, q)
        case Softmax():
            return _softmax(x.astype(np.int64), softmax_scaling(source))
        case Logistic():
            return logistic_table(source)[x.astype(np.int64) + 128]
        case Add():
            types = tuple(graph.tensors[i].type for i in (*op.inputs, op.output))
            return _add(add_scaling(op, *types), *(values[i] for i in op.inputs))
        case _:
            assert_never(op)


def _weighted(
    op: Weighted, table: Table | None, source: TensorType, target: TensorType, x: Int8
) -> Int8:
    """Every filter's sums over `x`, requantised."""
    if table is None:
        raise GraphError(f"{op.name}: has weights but no table")
    q = requantization(op, table, source, target)
    weights = op.weights.data.reshape(len(op.weights.data), -1).astype(np.float64)
    offset = x.astype(np.float64) + q.input_offset
    seen = offset if isinstance(op, FullyConnected) else patches(offset, op.window, 0.0)
    if isinstance(op, DepthwiseConv2D):
        sums = filtered_apart(seen, weights)
    else:
        sums = seen.reshape(-1, weights.shape[1]) @ weights.T
    accumulator = sums.astype(np.int64) + q.bias
    rounding = requantize_once if isinstance(op, FullyConnected) else requantize
    scaled = rounding(accumulator, q.factors) + q.output_offset
    clamped = np.clip(scaled, q.activation_min, q.activation_max).astype(np.int8)
    return clamped.reshape(len(x), *target.shape)


def _scaled_input(graph: Graph, values: dict[int, Int8], index: int, target: TensorType) -> Int8:
    q = rescaling(graph.tensors[index].type, target)
    return _rescale(values[index].astype(np.int64) + q.input_offset, q)


def _rescale(accumulator: Int64, q: Rescaling) -> Int8:
    scaled = requantize(accumulator, q.factor) + q.output_offset
    return np.clip(scaled, q.activation_min, q.activation_max).astype(np.int8)


def _add(q: AddScaling, *sides: Int8) -> Int8:
    first, second = (
        requantize((side.astype(np.int64) + offset) << ADD_SHIFT, factor)
        for side, offset, factor in zip(sides, q.input_offsets, q.factors, strict=True)
    )
    scaled = requantize(first + second, q.output_factor) + q.output_offset
    return np.clip(scaled, q.activation_min, q.activation_max).astype(np.int8)


def _softmax(x: Int64, q: SoftmaxScaling) -> Int8:
    """Along the last axis, as LiteRT's reference kernel: sums in Q12.19, outputs in Q0.8."""
    below = x - x.max(axis=-1, keepdims=True)
    counts = below >= q.smallest
    scaled = doubling_high_mul(np.where(counts, below, 0) << q.shift, np.int64(q.multiplier))
    exponentials = exp_of_negative(scaled)
    terms = np.where(counts, rounding_shift_right(exponentials, np.int64(12)), 0)
    total = terms.sum(axis=-1, keepdims=True)
    headroom = 31 - np.floor(np.log2(total)).astype(np.int64)  # exact: total is below 2**31
    inverse = reciprocal((total << headroom) - 2**31)
    shares = rounding_shift_right(doubling_high_mul(exponentials, inverse), 35 - headroom)
    return np.where(counts, np.minimum(shares - 128, 127), -128).astype(np.int8)


def _average(x: Int8, window: Window) -> Int8:
    """Sum over count, halves away from zero, as TensorFlow Lite's reference kernel."""
    total = patches(x, window, 0).sum(axis=(3, 4), dtype=np.int64)
    inside = np.ones((1, *x.shape[1:3], 1), np.int8)
    count = patches(inside, window, 0).sum(axis=(3, 4), dtype=np.int64)
    half = np.where(total > 0, count // 2, -(count // 2))
    rounded: Int8 = np.trunc((total + half) / count).astype(np.int8)
    return rounded
