"""What operating regions add to a C project: one row of constants per operation and region."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from tesla_codegen.tables import CArray, Initializer, TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.fixedpoint import Multiplier
from tesla_embed.ir.graph import Model, Region
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
)
from tesla_embed.ir.requantization import requantization
from tesla_embed.ir.scaling import add_scaling
from tesla_embed.ir.specialize import specialize


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A C type that holds what a region changes for one operation.

    `array` ends the name of the array with one row per region, `bytes` is the size of a row where
    pointers have 32 bits. `outputs` is the member that counts active outputs, `per_position` says
    whether it counts those of one pixel.
    """

    c_type: str
    array: str
    bytes: int
    outputs: str
    per_position: bool


LAYER_ROW = Row(
    c_type="tesla_layer_region_t",
    array="regions",
    bytes=24,
    outputs=".output_channels",
    per_position=True,
)
CHANNELS_ROW = Row(c_type="uint16_t", array="channels", bytes=2, outputs="", per_position=True)
ADD_ROW = Row(
    c_type="tesla_add_region_t", array="regions", bytes=28, outputs=".size", per_position=False
)
_ROWS = {row.c_type: row for row in (LAYER_ROW, CHANNELS_ROW, ADD_ROW)}


def row_type(op: Op) -> Row:
    """What holds the constants of an operation that runs code."""
    match op:
        case FullyConnected() | Conv2D() | DepthwiseConv2D():
            return LAYER_ROW
        case MaxPool2D() | AveragePool2D():
            return CHANNELS_ROW
        case Add():
            return ADD_ROW
        case Reshape():
            raise CodegenError(f"{op.name}: reshaping has no constants")
        case _:
            assert_never(op)


def table_bytes(arrays: Sequence[Initializer]) -> int:
    """Flash of the rows themselves, without the tables that they point to."""
    return sum(len(array.fields) * _ROWS[array.c_type].bytes for array in arrays)


def region_arrays(model: Model) -> tuple[tuple[Initializer, ...], tuple[CArray, ...]]:
    """Per operation an array with one row per region, and the tables that the rows point to."""
    pool = TablePool()
    dense = [specialize(model, region).graph.ops for region in model.regions]
    rows = [
        (
            op,
            [
                _fields(r, index, ops[index], pool)
                for r, ops in zip(model.regions, dense, strict=True)
            ],
        )
        for index, op in enumerate(model.graph.ops)
        if not isinstance(op, Reshape)
    ]
    tables, where = pool.resolve()
    arrays = tuple(
        Initializer(
            c_type=row_type(op).c_type,
            name=f"{op.name}_{row_type(op).array}",
            fields=tuple(_row_text(row, where) for row in region_rows),
        )
        for op, region_rows in rows
    )
    return arrays, tuple(tables)


def _fields(region: Region, index: int, op: Op, pool: TablePool) -> tuple[str, ...]:
    """One row: the members of its C type, in order; tables by the names asked of the pool.

    `op` is the dense operation of the region.
    """
    match op:
        case FullyConnected() | Conv2D() | DepthwiseConv2D():
            return _layer_fields(region, index, op, pool)
        case MaxPool2D() | AveragePool2D():
            return (str(region.types[op.output].channels),)
        case Add():
            return _add_fields(region, op)
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
        *(_only(factor)[0] for factor in factors),
        *(_only(factor)[1] for factor in factors),
    )
    return tuple(map(str, numbers))


def _only(factor: Multiplier) -> tuple[int, int]:
    """Multiplier and shift of a factor that is the same for all channels."""
    return int(factor.multiplier[0]), int(factor.shift[0])


def _row_text(row: tuple[str, ...], where: dict[str, str]) -> str:
    if len(row) == 1:
        return row[0]
    return "{" + ", ".join(where.get(entry, entry) for entry in row) + "}"
