"""Tables of channels in half the flash: unpacked into the arena when their layer begins.

A row of `channel_table` has 16 bytes and one of `scaled_table` 12, of which most repeat: the
multiplier is a mantissa of 31 bits whose highest is set, shifts of a layer differ little, and all
else follows from them. Kept are, per channel, the bias in two to four bytes, and a word of the
mantissa's other 30 bits below the shift less the layer's least one (0 .. 3). Where shifts differ
more, the table stays as it is. See `tesla/compact.h`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.channels import channel_table, layer_requantization, scaled_table
from tesla_codegen.kernels.packed import PACKED, SCALED
from tesla_codegen.kernels.variant import Row, RowMaker, Variant
from tesla_codegen.tables import TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.fixedpoint import Int64
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import FullyConnected, Weighted
from tesla_embed.ir.specialize import specialize

_MOST_DENSE = 64
"""Outputs of a fully connected layer that are unpacked: their constants are used once, so that the
RAM for more would be spent on little."""
_SPREAD = 3
_SCALED_SHIFT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How rows of one type are kept: the function that unpacks them, and the bytes that it writes,
    as many at least as a machine with pointers of 64 bits needs."""

    row: Row
    unpack: str
    head_bytes: int
    channel_bytes: int


_SIZE = "{positions}u * {row}.output_channels"
_FORMS = {
    PACKED: _Form(
        row=Row(c_type="tesla_compact_region_t", bytes=16, size=_SIZE),
        unpack="tesla_unpack_dsp",
        head_bytes=16,
        channel_bytes=16,
    ),
    SCALED: _Form(
        row=Row(c_type="tesla_compact_scaled_region_t", bytes=16, size=_SIZE),
        unpack="tesla_unpack_scaled_dsp",
        head_bytes=24,
        channel_bytes=12,
    ),
}


def compacted(model: Model, index: int, variant: Variant) -> Variant:
    """The same variant with compact tables, where that saves flash; else the one given."""
    op = model.graph.ops[index]
    form = _FORMS.get(variant.row)
    if form is None or not isinstance(op, Weighted):
        return variant
    outputs = model.graph.tensors[op.output].type.channels
    if isinstance(op, FullyConnected) and outputs > _MOST_DENSE:
        return variant
    shifts = (_shifts(specialize(model, region), index, variant.row) for region in model.regions)
    if any(np.ptp(shift) > _SPREAD for shift in shifts):
        return variant
    return replace(
        variant,
        row=form.row,
        rows=_rows(variant.rows, variant.row),
        helpers=(*variant.helpers, form.unpack),
        unpack=form.unpack,
        unpacked_bytes=form.head_bytes + form.channel_bytes * outputs,
    )


def _shifts(dense: Model, index: int, row: Row) -> Int64:
    """Shifts to the right `[out]` of the table that rows of this type point to."""
    if row is SCALED:
        scaled = scaled_table(dense, index)
        if scaled is not None:
            exponents = np.log2(scaled.channels[:, 2]).astype(np.int64)
            return _SCALED_SHIFT + scaled.early - exponents
    else:
        table = channel_table(dense, index)
        if table is not None:
            return table[:, 3].astype(np.int64)
    raise CodegenError(f"{dense.graph.ops[index].name}: has no table at {dense.regions[0].dp} % DP")


def _rows(maker: RowMaker, kind: Row) -> Callable[[Model, int, TablePool], list[tuple[str, ...]]]:
    """Rows as `maker` makes them, of type `kind`, with compact tables."""

    def rows(dense: Model, index: int, pool: TablePool) -> list[tuple[str, ...]]:
        op = dense.graph.ops[index]
        ((*numbers, name),) = maker(dense, index, TablePool())
        q, shift = layer_requantization(dense, index), _shifts(dense, index, kind)
        least = int(shift.min())
        mantissa = q.factors.multiplier.astype(np.int64) & (2**30 - 1)
        bias = q.bias.astype(np.int64)
        width = _bias_bytes(bias)
        pool.add(name, _channels(bias, width, mantissa | (shift - least) << 30))
        if kind is SCALED:
            early = int(numbers[-1])
            return [(*numbers, str(width), str(_SCALED_SHIFT + early - least), name)]
        once = int(isinstance(op, FullyConnected))
        return [(*numbers, str(q.output_offset), str(least), str(width), str(once), name)]

    return rows


def _bias_bytes(bias: Int64) -> int:
    """Bytes that hold every one of `bias`."""
    reach = int(max(bias.max(), ~bias.min(), 0))
    return max(2, reach.bit_length() // 8 + 1)


def _channels(bias: Int64, width: int, factors: Int64) -> npt.NDArray[np.int8]:
    """Flat: per channel `width` bytes of its bias and four of its factor, the lowest first."""
    words = np.stack([bias, factors], axis=1).astype("<i8").view(np.int8).reshape(-1, 2, 8)
    return np.concatenate([words[:, 0, :width], words[:, 1, :4]], axis=1).reshape(-1)
