"""Tables of channels in half the flash: unpacked into the arena when their layer begins.

A row of `channel_table` has 16 bytes and one of `scaled_table` 12, of which most repeat: the
multiplier is a mantissa of 31 bits whose highest is set, shifts of a layer differ little, and all
else follows from them. Kept are, per channel and without gaps, the shift less the layer's least
one, the bias, and the mantissa's other 30 bits, the first two in as many bits as the layer needs in
a region. Where these are too many, the table stays as it is. See `tesla/compact.h`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.channels import layer_requantization
from tesla_codegen.kernels.packed import PACKED, SCALED
from tesla_codegen.kernels.variant import Cuts, Row, RowMaker, Variant
from tesla_codegen.tables import TablePool
from tesla_embed.ir.fixedpoint import Int64
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import FullyConnected, Weighted

_MOST_DENSE = 64
"""Outputs of a fully connected layer that are unpacked: their constants are used once, so that the
RAM for more would be spent on little."""
_MANTISSA_BITS = 30
_MOST_EXCESS = 3
_MOST_BITS = 32
_READ_BYTES = 5
"""Bytes that a field is read with."""
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


def compacted(model: Model, cuts: Cuts, index: int, variant: Variant) -> Variant:
    """The same variant with compact tables, where that saves flash; else the one given."""
    op = model.graph.ops[index]
    form = _FORMS.get(variant.row)
    if form is None or not isinstance(op, Weighted):
        return variant
    outputs = model.graph.tensors[op.output].type.channels
    if isinstance(op, FullyConnected) and outputs > _MOST_DENSE:
        return variant
    tables = [_table(cut, index) for cut in cuts]
    if not all(table.fits for table in tables):
        return variant
    return replace(
        variant,
        row=form.row,
        rows=_rows(variant.rows, variant.row),
        helpers=(*variant.helpers, form.unpack),
        unpack=form.unpack,
        unpacked_bytes=form.head_bytes + form.channel_bytes * outputs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Integers of a layer's active channels, `[out]`: mantissas without their highest bit, shifts
    to the right, and biases."""

    mantissa: Int64
    shift: Int64
    bias: Int64

    @property
    def least(self) -> int:
        """The smallest shift."""
        return int(self.shift.min())

    @property
    def excess_bits(self) -> int:
        """Bits for what shifts exceed it by."""
        return int(np.ptp(self.shift)).bit_length()

    @property
    def bias_bits(self) -> int:
        """Bits that hold every bias and its sign."""
        return int(max(self.bias.max(), ~self.bias.min(), 0)).bit_length() + 1

    @property
    def fits(self) -> bool:
        """Whether the layer's fields are narrow enough."""
        both = self.excess_bits + self.bias_bits
        return self.excess_bits <= _MOST_EXCESS and both <= _MOST_BITS

    def packed(self) -> npt.NDArray[np.int8]:
        """All channels bit by bit, the first one's lowest bit in the first byte's lowest."""
        both = self.excess_bits + self.bias_bits
        bias = self.bias & ((1 << self.bias_bits) - 1)
        rest = self.shift - self.least | bias << self.excess_bits
        each = both + _MANTISSA_BITS
        channels = zip(self.mantissa.tolist(), rest.tolist(), strict=True)
        bits = sum((m << both | r) << at * each for at, (m, r) in enumerate(channels))
        total = len(rest) * each
        size = max(-(-total // 8), (total - _MANTISSA_BITS) // 8 + _READ_BYTES)
        return np.frombuffer(bits.to_bytes(size, "little"), np.int8)


def _table(dense: Model, index: int) -> _Table:
    """The integers of an operation in a region's dense model."""
    q = layer_requantization(dense, index)
    once = isinstance(dense.graph.ops[index], FullyConnected)
    return _Table(
        mantissa=q.factors.multiplier.astype(np.int64) & (2**_MANTISSA_BITS - 1),
        shift=-q.factors.shift.astype(np.int64) - int(once),
        bias=q.bias.astype(np.int64),
    )


def _rows(maker: RowMaker, kind: Row) -> Callable[[Model, int, TablePool], list[tuple[str, ...]]]:
    """Rows as `maker` makes them, of type `kind`, with compact tables."""

    def rows(dense: Model, index: int, pool: TablePool) -> list[tuple[str, ...]]:
        ((*numbers, name),) = maker(dense, index, TablePool())
        table = _table(dense, index)
        widths = table.bias_bits + 64 * table.excess_bits
        pool.add(name, table.packed())
        if kind is SCALED:
            early = int(numbers[-1])
            return [(*numbers, str(widths), str(_SCALED_SHIFT + early - table.least), name)]
        offset = layer_requantization(dense, index).output_offset
        once = int(isinstance(dense.graph.ops[index], FullyConnected))
        return [(*numbers, str(offset), str(table.least), str(widths), str(once), name)]

    return rows
