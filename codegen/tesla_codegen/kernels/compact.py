"""Tables of channels in half the flash: unpacked into the arena when their layer begins.

A row of `channel_table` has 16 bytes, of which most repeat: the multiplier is a mantissa of 31 bits
whose highest is set, shifts of a layer differ little, and `rounding` follows from the shift and the
output's zero point. Kept are, per channel, a word of the mantissa's other 30 bits below the shift
less the layer's least one (0 .. 3), and the bias in two to four bytes, lowest first. Where shifts
differ more, the table stays as it is. See `tesla/compact.h`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.channels import channel_table, layer_requantization
from tesla_codegen.kernels.packed import PACKED
from tesla_codegen.kernels.variant import Row, RowMaker, Variant
from tesla_codegen.tables import TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import FullyConnected, Weighted
from tesla_embed.ir.specialize import specialize

_ROW = Row(c_type="tesla_compact_region_t", bytes=20, size="{positions}u * {row}.output_channels")
_MOST_DENSE = 64
"""Outputs of a fully connected layer that are unpacked: their constants are used once, so that the
RAM for more would be spent on little."""
_HEAD_BYTES, _CHANNEL_BYTES = 16, 16
_SPREAD = 3


def compacted(model: Model, index: int, variant: Variant) -> Variant:
    """The same variant with compact tables, where that saves flash; else the one given."""
    op = model.graph.ops[index]
    if variant.row is not PACKED or not isinstance(op, Weighted):
        return variant
    outputs = model.graph.tensors[op.output].type.channels
    if isinstance(op, FullyConnected) and outputs > _MOST_DENSE:
        return variant
    tables = [channel_table(specialize(model, region), index) for region in model.regions]
    if any(table is None or np.ptp(table[:, 3]) > _SPREAD for table in tables):
        return variant
    width = max(_bias_bytes(table[:, 0]) for table in tables if table is not None)
    return replace(
        variant,
        row=_ROW,
        rows=_rows(variant.rows, width),
        helpers=(*variant.helpers, "tesla_unpack_dsp"),
        unpack="tesla_unpack_dsp",
        unpacked_bytes=_HEAD_BYTES + _CHANNEL_BYTES * outputs,
    )


def _bias_bytes(bias: npt.NDArray[np.int32]) -> int:
    """Bytes that hold every one of `bias`."""
    reach = int(max(bias.max(), ~bias.min(), 0))
    return max(2, reach.bit_length() // 8 + 1)


def _rows(packed: RowMaker, width: int) -> Callable[[Model, int, TablePool], list[tuple[str, ...]]]:
    """Rows as `packed` makes them, with compact tables; biases have `width` bytes."""

    def rows(dense: Model, index: int, pool: TablePool) -> list[tuple[str, ...]]:
        op, region = dense.graph.ops[index], dense.regions[0]
        table, q = channel_table(dense, index), layer_requantization(dense, index)
        if table is None:
            raise CodegenError(f"{op.name}: has no packed table at {region.dp} % DP")
        ((*numbers, _),) = packed(dense, index, TablePool())
        least = int(table[:, 3].min())
        mantissas = q.factors.multiplier.astype(np.int64) & (2**30 - 1)
        factors = mantissas | (table[:, 3].astype(np.int64) - least) << 30
        names = [f"{op.name}_{kind}_{region.dp}" for kind in ("factors", "bias")]
        pool.add(names[0], factors.astype(np.uint32).view(np.int32))
        bias = np.ascontiguousarray(table[:, 0], "<i4").view(np.int8).reshape(-1, 4)
        pool.add(names[1], np.ascontiguousarray(bias[:, :width]).reshape(-1))
        once = int(isinstance(op, FullyConnected))
        return [(*numbers, str(q.output_offset), str(least), str(width), str(once), *names)]

    return rows
