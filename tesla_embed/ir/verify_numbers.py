"""The verifier's rules on numbers: scales, tables and the ranges of integers in a region."""

import dataclasses
from typing import assert_never

import numpy as np

from tesla_embed.errors import GraphError
from tesla_embed.ir.fixedpoint import INT32_MAX, quantize_multiplier
from tesla_embed.ir.graph import Graph, Region, Table
from tesla_embed.ir.ops import (
    UNIT,
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
    Unit,
    Weighted,
)
from tesla_embed.ir.parts import Parts, active_indices
from tesla_embed.ir.requantization import (
    activation_range,
    quantization,
    requantization,
    rescale_factors,
)
from tesla_embed.ir.rules import require
from tesla_embed.ir.scaling import add_factors, scale_ratio
from tesla_embed.ir.specialize import active_weights
from tesla_embed.ir.types import DType, Weights

_ROOM = INT32_MAX - 128
"""What a scaled accumulator may reach: the output's zero point is added last."""


def check_numbers(
    where: str, index: int, graph: Graph, region: Region, parts: tuple[Parts, ...]
) -> None:
    """Operation `index` in one region; `parts` are those of every tensor there."""
    op, table = graph.ops[index], region.tables[index]
    made = sum(part.active for part in parts[op.output])
    follows = region.types[op.output].channels == made
    require(follows, where, f"cannot change the channels: its input makes {made}")
    weighted = isinstance(op, Weighted)
    require(weighted or table is None, where, "has a table but no weights")
    _activation(where, op, region)
    match op:
        case FullyConnected() | Conv2D() | DepthwiseConv2D():
            _table(where, op, table, region, parts)
        case MaxPool2D() | AveragePool2D() | Pad() | Reshape():
            same = region.types[op.input].quantization == region.types[op.output].quantization
            require(same, where, "must keep the quantisation of its input")
            if isinstance(op, Reshape):
                _reshaping(where, op, graph, region)
        case Mean():
            pixels = region.types[op.input].positions
            _rescaling(where, region, op.input, op.output, pixels)
        case Rescale():
            _rescaling(where, region, op.input, op.output)
        case Softmax() | Logistic():
            _unit(where, op, region)
        case Concat():
            _concatenation(where, op, region, parts)
        case Add():
            _add(where, op, region, parts)
        case _:
            assert_never(op)


def _activation(where: str, op: Op, region: Region) -> None:
    """The clamp of an activation is an integer of 32 bits before it meets those of eight."""
    quantized = region.types[op.output].quantization
    if isinstance(op, Weighted | Add | Rescale) and quantized is not None:
        try:
            activation_range(op.activation, quantized)
        except GraphError as error:
            raise GraphError(f"{where}: {error}", where) from error


def _reshaping(where: str, op: Reshape, graph: Graph, region: Region) -> None:
    """Channels keep their meaning, or all of them are active."""
    full = [graph.tensors[i].type.channels for i in (op.input, op.output)]
    active = [region.types[i].channels for i in (op.input, op.output)]
    fits = full[0] == full[1] or full == active
    require(fits, where, "changes the channels, of which some are inactive")


def _add(where: str, op: Add, region: Region, parts: tuple[Parts, ...]) -> None:
    first, second = (active_indices(parts[i]) for i in op.inputs)
    same = np.array_equal(first, second)
    require(same, where, "the same channels must be active on both sides")
    types = [region.types[i] for i in (*op.inputs, op.output)]
    if types[-1].dtype is DType.INT8:
        shift = int(quantize_multiplier(np.array(add_factors(*types))).shift.max())
        require(shift <= 0, where, "the output's scale is too small for its inputs")


def _unit(where: str, op: Unit, region: Region) -> None:
    source, target = region.types[op.input], region.types[op.output]
    if target.dtype is DType.FLOAT32:
        return
    fixed = target.quantization == UNIT
    require(fixed, where, "its output must have scale 1/256 and zero point -128")
    fits = isinstance(op, Logistic) or quantization(source).scale > 2.0**-26
    require(fits, where, "the input's scale is too small")


def _concatenation(where: str, op: Concat, region: Region, parts: tuple[Parts, ...]) -> None:
    if op.axis < len(region.types[op.output].shape) - 1:
        first, *others = (active_indices(parts[i]) for i in op.inputs)
        same = all(np.array_equal(first, other) for other in others)
        require(same, where, "the same channels must be active in all inputs")
    for index in op.inputs:
        _rescaling(where, region, index, op.output)


def _rescaling(where: str, region: Region, source: int, target: int, terms: int = 1) -> None:
    """No sum of `terms` inputs can overflow when it is scaled to the output."""
    types = region.types[source], region.types[target]
    if types[0].dtype is DType.FLOAT32:
        return
    ratio = scale_ratio(*types)
    shift = int(quantize_multiplier(np.array([ratio])).shift[0]) if ratio < 2.0**30 else 31
    fits = 255 * terms << max(shift, 0) <= _ROOM
    require(fits, where, "the ratio of input and output scales is out of range")


def _table(
    where: str, op: Weighted, table: Table | None, region: Region, parts: tuple[Parts, ...]
) -> None:
    if table is None:
        raise GraphError(f"{where}: has weights but no table")
    source, target = region.types[op.input], region.types[op.output]
    count = target.channels
    require(table.bias.shape == (count,), where, f"needs {count} biases")
    if source.dtype is DType.FLOAT32:
        float_ok = table.bias.dtype == np.float32 and table.weight_scale is None
        float_ok = float_ok and op.weights.data.dtype == np.float32
        require(float_ok, where, "a float model needs float weights and biases, and no scales")
        if table.gain is not None:
            _factors(where, "gains", table.gain, count)
        return
    require(table.gain is None, where, "an integer model has weight scales, and no gain")
    require(op.weights.data.dtype == np.int8, where, "int8 activations need int8 weights")
    require(table.bias.dtype == np.int32, where, "biases must be int32")
    if table.weight_scale is None:
        raise GraphError(f"{where}: needs weight scales")
    check_scale(where, table.weight_scale, count)
    _accumulator(where, op, table, region, parts)


def _accumulator(
    where: str, op: Weighted, table: Table, region: Region, parts: tuple[Parts, ...]
) -> None:
    """No input can overflow the int32 accumulator, nor its left shift, nor the offset after it."""
    assert table.weight_scale is not None
    source, target = region.types[op.input], region.types[op.output]
    data = active_weights(op, parts[op.input], parts[op.output])
    rows = data.reshape(len(data), -1)
    # Not the absolute values: that of -128 is no int8.
    sums = np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    sums -= np.minimum(rows, 0).sum(axis=1, dtype=np.int64)
    worst = sums * 255 + np.abs(table.bias.astype(np.int64))
    require(bool((worst <= INT32_MAX).all()), where, "the accumulator can overflow int32")
    with np.errstate(over="ignore"):
        factors = rescale_factors(source, target, table)
        fits = bool((factors < 2.0**30).all()) and bool(np.isfinite(factors).all())
    require(fits, where, "the ratio of input, weight and output scales is out of range")
    shift = np.maximum(quantize_multiplier(factors).shift.astype(np.int64), 0)
    require(bool((shift <= 30).all()), where, "the ratio of scales rounds up out of range")
    require(bool(((worst << shift) <= _ROOM).all()), where, "requantisation can overflow")
    if isinstance(op, FullyConnected):
        weights = Weights(data=data, scale=table.weight_scale.copy())
        dense = dataclasses.replace(op, name=where, weights=weights)
        requantization(dense, table, source, target)  # which refuses what has no exact integers


def check_scale(name: str, scale: np.ndarray, count: int) -> None:
    """One positive float32 weight scale for each of `count` output channels."""
    _factors(name, "weight scales", scale, count)
    require(is_float32(scale), name, "weight scales must be float32, as in a .tflite")


def _factors(name: str, what: str, values: np.ndarray, count: int) -> None:
    fits = values.dtype == np.float64 and values.shape == (count,)
    require(fits, name, f"needs {count} {what}")
    require(bool((np.isfinite(values) & (values > 0)).all()), name, f"{what} must be positive")


def is_float32(values: np.ndarray | np.float64) -> bool:
    """Whether float32 holds these float64 values exactly."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float32) == values).all())
