"""The float interpreter: what a model computes before it is quantised.

NumPy, batched like the integer one. Calibration looks at every activation through it, so it counts
in float64: matrix products add up in another order on another machine or with other threads, and in
float32 that would show in the scales, and hence in a model's digest.
"""

from collections.abc import Iterator, Sequence
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import GraphError
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import (
    Activation,
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
)
from tesla_embed.ir.specialize import specialize
from tesla_embed.ir.types import TensorType
from tesla_embed.ir.windows import filtered_apart, patches

Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
_LEAST, _MOST = 8, 128
_BATCH_BYTES = 2**23
"""Samples computed at a time, and about the memory that an unfolded convolution of them may take:
what stays in the caches, and is not asked of the system anew, is faster."""


def interpret_float(model: Model, region: Region, inputs: Floats) -> Float64:
    """Outputs `[N, *output shape]` of a float model in one region."""
    batches = float_activations(model, region, inputs)
    return np.concatenate([values[model.graph.output] for values in batches])


def float_activations(
    model: Model, region: Region, inputs: Floats
) -> Iterator[tuple[Float64, ...]]:
    """Per batch of inputs, the value of every tensor of the graph, in the tensors' order."""
    dense = specialize(model, region)
    graph, tables = dense.graph, dense.regions[0].tables
    batch = min(max(_BATCH_BYTES // _unfolded_bytes(graph), _LEAST), _MOST)
    for start in range(0, len(inputs), batch):
        values = {graph.input: inputs[start : start + batch].astype(np.float64)}
        for op, table in zip(graph.ops, tables, strict=True):
            target = graph.tensors[op.output].type
            sources = [values[index] for index in op.inputs]
            values[op.output] = apply_float(op, table, target, sources)
        yield tuple(values[index] for index in range(len(graph.tensors)))


def _unfolded_bytes(graph: Graph) -> int:
    """What the largest operand of a matrix product takes for one sample."""
    most = 1
    for op in graph.ops:
        source, target = (graph.tensors[i].type for i in (op.input, op.output))
        taps = op.window.height * op.window.width if isinstance(op, Conv2D) else 1
        most = max(most, 8 * target.positions * taps * source.channels)
    return most


def apply_float(
    op: Op, table: Table | None, target: TensorType, sources: Sequence[Float64]
) -> Float64:
    """The output `[N, *shape]` of one operation of a dense graph, given what it reads."""
    x = sources[0]
    match op:
        case FullyConnected():
            return _weighted(op, table, target, x)
        case Conv2D() | DepthwiseConv2D():
            return _weighted(op, table, target, patches(x, op.window, 0.0))
        case MaxPool2D():
            largest: Float64 = patches(x, op.window, -np.inf).max(axis=(3, 4))
            return largest
        case AveragePool2D():
            inside = patches(np.ones((1, *x.shape[1:3], 1), np.float64), op.window, 0.0)
            mean: Float64 = patches(x, op.window, 0.0).sum(axis=(3, 4)) / inside.sum(axis=(3, 4))
            return mean
        case Reshape():
            return x.reshape(len(x), *target.shape)
        case Mean():
            average: Float64 = x.mean(axis=(1, 2), keepdims=True)
            return average
        case Concat():
            return np.concatenate(sources, axis=op.axis + 1)
        case Pad():
            return np.pad(x, ((0, 0), (op.top, op.bottom), (op.left, op.right), (0, 0)))
        case Rescale():
            return _activate(op.activation, x)
        case Softmax():
            above = np.exp(x - x.max(axis=-1, keepdims=True))
            share: Float64 = above / above.sum(axis=-1, keepdims=True)
            return share
        case Logistic():
            return 0.5 * (1.0 + np.tanh(0.5 * x))
        case Add():
            return _activate(op.activation, sources[0] + sources[1])
        case _:
            assert_never(op)


def _weighted(op: Weighted, table: Table | None, target: TensorType, x: Float64) -> Float64:
    if table is None:
        raise GraphError(f"{op.name}: has weights but no table")
    weights = op.weights.data.reshape(len(op.weights.data), -1).astype(np.float64)
    if isinstance(op, DepthwiseConv2D):
        y = filtered_apart(x, weights)
    else:
        y = x.reshape(-1, weights.shape[1]) @ weights.T
    if table.gain is not None:
        y = y * table.gain
    y = _activate(op.activation, y + table.bias.astype(np.float64))
    return y.reshape(len(x), *target.shape)


def _activate(activation: Activation, y: Float64) -> Float64:
    match activation:
        case Activation.NONE:
            return y
        case Activation.RELU:
            return np.maximum(y, 0)
        case Activation.RELU6:
            return np.clip(y, 0, 6)
        case Activation.RELU_N1_TO_1:
            return np.clip(y, -1, 1)
        case _:
            assert_never(activation)
