"""What kernels on packed weights share: the row of a region, and whether an operation qualifies."""

import numpy as np

from tesla_codegen.kernels.channels import (
    channel_table,
    dense_sum_range,
    layer_requantization,
    scaled_table,
)
from tesla_codegen.kernels.pairing import halves_fit, paired_exactly
from tesla_codegen.kernels.variant import Cuts, Row
from tesla_codegen.tables import TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.parts import channel_parts, joined

PACKED = Row(c_type="tesla_packed_region_t", bytes=12, size="{positions}u * {row}.output_channels")
SCALED = Row(c_type="tesla_scaled_region_t", bytes=16, size="{positions}u * {row}.output_channels")


def packed_rows(
    dense: Model, index: int, pool: TablePool, *, flat: bool = False
) -> list[tuple[str, ...]]:
    """The row of a region for a layer that is no convolution, a `tesla_packed_region_t`.

    With `flat`, all elements of the input count as channels of one position.
    """
    op, region = dense.graph.ops[index], dense.regions[0]
    q, table = layer_requantization(dense, index), channel_table(dense, index)
    if table is None:
        raise CodegenError(f"{op.name}: has no packed table at {region.dp} % DP")
    name = f"{op.name}_channels_{region.dp}"
    pool.add(name, table)
    source, target = region.types[op.input], region.types[op.output]
    channels = source.size if flat else source.channels
    numbers = (channels, target.channels, q.input_offset, q.activation_min, q.activation_max)
    return [(*map(str, numbers), name)]


def scaled_rows(dense: Model, index: int, pool: TablePool) -> list[tuple[str, ...]]:
    """The row of a region for a convolution, a `tesla_scaled_region_t`."""
    op, region = dense.graph.ops[index], dense.regions[0]
    q, table = layer_requantization(dense, index), scaled_table(dense, index)
    if table is None:
        raise CodegenError(f"{op.name}: has no scaled table at {region.dp} % DP")
    name = f"{op.name}_channels_{region.dp}"
    pool.add(name, table.channels)
    source, target = region.types[op.input], region.types[op.output]
    channels = (source.channels, target.channels)
    numbers = (-q.input_offset, q.output_offset, q.activation_min, q.activation_max)
    how = (int(table.away), table.early)
    return [(*map(str, (*channels, *numbers, *how)), name)]


def qualifies(model: Model, cuts: Cuts, index: int, *, pairs: bool, scaled: bool = False) -> bool:
    """Whether an operation with weights can use packed tables, or scaled ones, in every region.

    With `pairs`, also whether output channels can share halfwords (see `pairing`).
    """
    op = model.graph.ops[index]
    if not isinstance(op, Weighted) or op.weights.bits != 8 or _several_parts(model, op):
        return False
    table_of = scaled_table if scaled else channel_table
    if any(table_of(cut, index) is None for cut in cuts):
        return False
    if not pairs:
        return True
    exact = all(paired_exactly(*dense_sum_range(cut, index)) for cut in cuts)
    return exact and halves_fit(op.weights.data.astype(np.int8))


def _several_parts(model: Model, op: Weighted) -> bool:
    """Whether the active channels of the input are not simply the leading ones."""
    parts = joined([channel_parts(model.graph, region)[op.input] for region in model.regions])
    return len(parts[0]) > 1
