"""What operating regions add to a C project: one row of constants per operation and region."""

from collections.abc import Sequence

from tesla_codegen.tables import CArray, Initializer, TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.ops import Op, Reshape, Weighted
from tesla_embed.ir.requantization import requantization

_STRUCT_BYTES = {"tesla_layer_region_t": 24, "uint16_t": 2}
"""Bytes of one row where pointers have 32 bits."""


def table_bytes(arrays: Sequence[Initializer]) -> int:
    """Flash of the rows themselves, without the tables that they point to."""
    return sum(len(array.fields) * _STRUCT_BYTES[array.c_type] for array in arrays)


def region_arrays(model: Model) -> tuple[tuple[Initializer, ...], tuple[CArray, ...]]:
    """Per operation an array with one row per region, and the tables that the rows point to."""
    pool = TablePool()
    rows: list[tuple[Op, list[tuple[str, ...]]]] = []
    for index, op in enumerate(model.graph.ops):
        if isinstance(op, Weighted):
            rows.append((op, [_region_fields(region, index, op, pool) for region in model.regions]))
        elif not isinstance(op, Reshape):
            channels = [str(region.types[op.output].channels) for region in model.regions]
            rows.append((op, [(count,) for count in channels]))
    tables, where = pool.resolve()
    arrays = tuple(
        Initializer(
            c_type="tesla_layer_region_t" if isinstance(op, Weighted) else "uint16_t",
            name=f"{op.name}_{'regions' if isinstance(op, Weighted) else 'channels'}",
            fields=tuple(_row_text(row, where) for row in region_rows),
        )
        for op, region_rows in rows
    )
    return arrays, tuple(tables)


def _region_fields(region: Region, index: int, op: Weighted, pool: TablePool) -> tuple[str, ...]:
    """The fields of `tesla_layer_region_t`, in order; tables by the names asked of the pool."""
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


def _row_text(row: tuple[str, ...], where: dict[str, str]) -> str:
    if len(row) == 1:
        return row[0]
    return "{" + ", ".join(where.get(entry, entry) for entry in row) + "}"
