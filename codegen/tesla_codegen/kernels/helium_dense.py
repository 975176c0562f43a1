"""The fully connected kernel for Helium: its packing, scratch and constants.

Eight outputs make a block, 16 inputs of a group a step. What is left of a multiple of eight outputs
is packed in pairs.
"""

from functools import partial

import numpy as np

from tesla_codegen.kernels.channels import reads_all_channels
from tesla_codegen.kernels.helium_conv import pairs
from tesla_codegen.kernels.helium_tables import (
    LANES,
    ROW,
    Int8,
    Int32,
    constants,
    filled,
    qualifies,
    row,
)
from tesla_codegen.kernels.variant import Cuts, Variant
from tesla_codegen.tables import Initializer, TablePool
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import FullyConnected

_BLOCK = 8
_MOST_INPUTS = 2**16 - 1


def fully_connected(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """A variant of a fully connected layer, or `None` where it would not be exact."""
    op = model.graph.ops[index]
    if not isinstance(op, FullyConnected) or not qualifies(model, cuts, index):
        return None
    source = model.graph.tensors[op.input].type
    whole = reads_all_channels(model, op)
    if whole and source.size > _MOST_INPUTS:
        return None
    groups, channels = (1, source.size) if whole else (source.positions, source.channels)
    weights = op.weights.data.reshape(-1, groups, channels).astype(np.int8)
    streams = filled(weights, 2, LANES).reshape(len(weights), -1).astype(np.int8)
    return Variant(
        kernel="tesla_fully_connected_helium",
        helpers=("tesla_helium_dots",),
        row=ROW,
        rows=partial(_rows, flat=whole),
        layer=Initializer(
            c_type="tesla_helium_dense_t",
            name=f"{op.name}_layer",
            fields=(
                f".groups = {groups}",
                f".group_channels = {channels}",
                f".outputs = {len(streams)}",
            ),
        ),
        weights=eights(streams),
        scratch_bytes=streams.shape[1],
    )


def eights(streams: Int8) -> Int8:
    """Weights `[out, length]` as `[out / 8][length / 16][8][16]`, and the rest in pairs; flat."""
    whole = len(streams) // _BLOCK * _BLOCK
    blocks = streams[:whole].reshape(-1, _BLOCK, streams.shape[1] // LANES, LANES)
    leading = np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)).reshape(-1)
    return np.concatenate([leading, pairs(streams[whole:])]) if whole < len(streams) else leading


def _rows(dense: Model, index: int, pool: TablePool, *, flat: bool) -> list[tuple[str, ...]]:
    """Per eight channels eight biases, eight multipliers and eight shifts."""
    source = dense.regions[0].types[dense.graph.ops[index].input]
    kinds = [filled(v, 0, _BLOCK).reshape(-1, _BLOCK) for v in constants(dense, index)]
    table: Int32 = np.stack(kinds, axis=1).astype(np.int32)
    return row(dense, index, pool, table, source.size if flat else source.channels)
