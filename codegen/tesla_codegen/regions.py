"""What operating regions add to a C project: one row of constants per operation and region."""

from collections.abc import Iterator, Sequence

from tesla_codegen.kernels.variant import Variant
from tesla_codegen.tables import CArray, Initializer, TablePool
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Op
from tesla_embed.ir.specialize import specialize

_PART_BYTES = 4


def table_bytes(arrays: Sequence[Initializer]) -> int:
    """Flash of the rows themselves, without the tables that they point to."""
    return sum(len(array.fields) * array.item_bytes for array in arrays)


def region_arrays(
    model: Model, variants: Sequence[Variant | None]
) -> tuple[tuple[Initializer, ...], tuple[CArray, ...]]:
    """Per operation an array of rows, region after region, and the tables that they point to.

    `variants` has one entry for each operation of the graph, `None` where no code runs. A region
    has one row, and of a concatenation one for each input.
    """
    pool = TablePool()
    dense = [specialize(model, region) for region in model.regions]
    rows = []
    for index, (op, variant) in enumerate(zip(model.graph.ops, variants, strict=True)):
        if variant is not None:
            pool.layer = op.name
            found = [row for cut in dense for row in variant.rows(cut, index, pool)]
            rows.append((op, variant, found))
    tables, where = pool.resolve()
    arrays = tuple(
        Initializer(
            c_type=variant.row.c_type,
            name=f"{op.name}_{variant.row.array}",
            fields=tuple(_row_text(row, where) for row in found),
            item_bytes=variant.row.bytes,
            layer=op.name,
        )
        for op, variant, found in rows
    )
    parts = tuple(array for op, variant, _ in rows for array in _parts(op, variant))
    return (*arrays, *parts), tuple(tables)


def _parts(op: Op, variant: Variant) -> Iterator[Initializer]:
    """The parts of what an operation reads, region after region."""
    if variant.parts:
        fields = tuple(f"{{{part.active}, {part.full}}}" for row in variant.parts for part in row)
        yield Initializer(
            c_type="tesla_part_t",
            name=f"{op.name}_parts",
            fields=fields,
            item_bytes=_PART_BYTES,
            layer=op.name,
        )


def _row_text(row: tuple[str, ...], where: dict[str, str]) -> str:
    if len(row) == 1:
        return row[0]
    return "{" + ", ".join(where.get(entry, entry) for entry in row) + "}"
