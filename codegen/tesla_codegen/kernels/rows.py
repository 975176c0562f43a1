"""The rows of constants that portable kernels get: one per operation and region, final values."""

import math
from typing import assert_never

from tesla_codegen.kernels.variant import Row
from tesla_codegen.tables import TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.fixedpoint import Multiplier
from tesla_embed.ir.graph import Model, Region
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
)
from tesla_embed.ir.requantization import quantization, requantization
from tesla_embed.ir.scaling import (
    Rescaling,
    add_scaling,
    logistic_table,
    mean_rescaling,
    rescaling,
    softmax_scaling,
)

_LAYER = Row(c_type="tesla_layer_region_t", bytes=24, size="{positions}u * {row}.output_channels")
_CHANNELS = Row(
    c_type="uint16_t", bytes=2, size="{positions}u * {row}", array="channels", by_value=True
)
_ADD = Row(c_type="tesla_add_region_t", bytes=28, size="{row}.size")
_RESCALE = Row(c_type="tesla_rescale_region_t", bytes=16, size="{row}.size")
_CONCAT = Row(c_type="tesla_concat_region_t", bytes=28, size="{row}.blocks * {row}.pitch")
_PAD = Row(c_type="tesla_pad_region_t", bytes=4, size="{positions}u * {row}.channels")
_SOFTMAX = Row(c_type="tesla_softmax_region_t", bytes=16, size="{row}.rows * {row}.length")
_LOOKUP = Row(c_type="tesla_lookup_region_t", bytes=8, size="{row}.size")


def row_type(op: Op) -> Row:
    """What holds the constants of an operation that runs code."""
    match op:
        case FullyConnected() | Conv2D() | DepthwiseConv2D():
            return _LAYER
        case MaxPool2D() | AveragePool2D():
            return _CHANNELS
        case Add():
            return _ADD
        case Mean() | Rescale():
            return _RESCALE
        case Concat():
            return _CONCAT
        case Pad():
            return _PAD
        case Softmax():
            return _SOFTMAX
        case Logistic():
            return _LOOKUP
        case Reshape():
            raise CodegenError(f"{op.name}: reshaping has no constants")
        case _:
            assert_never(op)


def rows_of(dense: Model, index: int, pool: TablePool) -> list[tuple[str, ...]]:
    """The rows of one region, which `dense` is cut out of, for an operation.

    Each row the members of its C type, in order; tables by the names asked of the pool.
    """
    op, region = dense.graph.ops[index], dense.regions[0]
    source, target = region.types[op.input], region.types[op.output]
    match op:
        case FullyConnected() | Conv2D() | DepthwiseConv2D():
            return [_layer_fields(region, index, op, pool)]
        case MaxPool2D() | AveragePool2D():
            return [(str(target.channels),)]
        case Add():
            return [_add_fields(region, op)]
        case Mean():
            return [_rescale_fields(target.size, mean_rescaling(source, target))]
        case Rescale():
            return [_rescale_fields(target.size, rescaling(source, target, op.activation))]
        case Concat():
            return _concat_rows(region, op)
        case Softmax():
            q = softmax_scaling(source)
            length = source.shape[-1]
            numbers = (source.size // length, length, q.multiplier, q.smallest, q.shift)
            return [tuple(map(str, numbers))]
        case Logistic():
            name = f"{op.name}_table_{region.dp}"
            pool.add(name, logistic_table(source))
            return [(str(target.size), name)]
        case Pad():
            return [(str(target.channels), str(quantization(source).zero_point))]
        case Reshape():
            raise CodegenError(f"{op.name}: reshaping has no constants")
        case _:
            assert_never(op)


def _layer_fields(region: Region, index: int, op: Weighted, pool: TablePool) -> tuple[str, ...]:
    table = region.tables[index]
    if table is None:
        raise CodegenError(f"{op.name}: has no table at {region.dp} % DP")
    source, target = region.types[op.input], region.types[op.output]
    q = requantization(op, table, source, target)
    names = [f"{op.name}_{kind}_{region.dp}" for kind in ("bias", "multiplier", "shift")]
    pool.add(names[0], q.bias)
    pool.add(names[1], q.factors.multiplier)
    pool.add(names[2], q.factors.shift)
    numbers = (
        source.channels,
        target.channels,
        q.input_offset,
        q.output_offset,
        q.activation_min,
        q.activation_max,
    )
    return (*map(str, numbers), *names)


def _add_fields(region: Region, op: Add) -> tuple[str, ...]:
    types = [region.types[i] for i in (*op.inputs, op.output)]
    q = add_scaling(op, *types)
    factors = (*q.factors, q.output_factor)
    numbers = (
        types[-1].size,
        *q.input_offsets,
        q.output_offset,
        q.activation_min,
        q.activation_max,
        *(only(factor)[0] for factor in factors),
        *(only(factor)[1] for factor in factors),
    )
    return tuple(map(str, numbers))


def _rescale_fields(size: int, q: Rescaling) -> tuple[str, ...]:
    multiplier, shift = only(q.factor)
    clamp = (q.activation_min, q.activation_max)
    numbers = (size, q.input_offset, q.output_offset, *clamp, shift, multiplier)
    return tuple(map(str, numbers))


def _concat_rows(region: Region, op: Concat) -> list[tuple[str, ...]]:
    """One row per input: its blocks, and where they go in the output."""
    target, start, rows = region.types[op.output], 0, []
    blocks = math.prod(target.shape[: op.axis])
    for index in op.inputs:
        source = region.types[index]
        block = source.size // blocks
        rescale = _rescale_fields(block, rescaling(source, target))
        numbers = (blocks, target.size // blocks, start)
        rows.append((*map(str, numbers), "{" + ", ".join(rescale) + "}"))
        start += block
    return rows


def only(factor: Multiplier) -> tuple[int, int]:
    """Multiplier and shift of a factor that is the same for all channels."""
    return int(factor.multiplier[0]), int(factor.shift[0])
