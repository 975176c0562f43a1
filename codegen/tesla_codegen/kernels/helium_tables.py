"""What kernels for Helium share: the row of a region, and whether an operation qualifies.

An accumulator is requantised as TensorFlow Lite does it: `VQRDMULH` is its doubling high product,
and `VRSHL` rounds the following shift, halves upwards; one is taken from negative values before, so
that their halves go away from zero. Fully connected layers round once: `VQDMULH` is
`floor(a m / 2^31)`, and with `s >= 1` `floor((floor(a m / 2^31) + 2^(s - 1)) / 2^s)` equals
`floor((a m + 2^(30 + s)) / 2^(31 + s))`, as the term that rounds is a multiple of 2^31. Both need a
shift to the right by 1 to 31. The generator has chosen factors with which no tie is met there.

The input's offset is part of the bias: it is the same for every output of a region, because what
stands beside an image is the zero point.
"""

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.channels import layer_requantization
from tesla_codegen.kernels.variant import Cuts, Row
from tesla_codegen.tables import TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.fixedpoint import Int64
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.parts import channel_parts
from tesla_embed.ir.requantization import quantization

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]

LANES = 16
MOST_ROWS = 16
"""TESLA_HELIUM_ROWS: the highest window of kernels that keep a place for every row."""
ROW = Row(c_type="tesla_helium_region_t", bytes=16, size="{positions}u * {row}.output_channels")
_MOST_CHANNELS = 2**14
"""Offsets from pixel to pixel have 16 bits, and four pixels are written at once."""


def qualifies(model: Model, cuts: Cuts, index: int) -> bool:
    """Whether an operation with weights has a row like `ROW` in every region."""
    op = model.graph.ops[index]
    if not isinstance(op, Weighted) or op.weights.bits != 8:
        return False
    wide = max(model.graph.tensors[i].type.channels for i in (op.input, op.output))
    if wide > _MOST_CHANNELS:
        return False
    for region, cut in zip(model.regions, cuts, strict=True):
        if len(channel_parts(model.graph, region)[op.input]) > 1:
            return False
        q = layer_requantization(cut, index)
        if ((q.factors.shift >= 0) & (q.factors.multiplier > 0)).any():
            return False
    return True


def constants(dense: Model, index: int) -> tuple[Int32, Int32, Int32]:
    """Bias, multiplier and shift `[out]` of an operation of a region's dense model.

    The bias holds the input's offset; what wraps around in it comes back when sums do.
    """
    op = dense.graph.ops[index]
    if not isinstance(op, Weighted):
        raise CodegenError(f"{op.name}: has no weights")
    q = layer_requantization(dense, index)
    sums: Int64 = op.weights.data.reshape(len(op.weights.data), -1).sum(axis=1, dtype=np.int64)
    bias = (q.bias + sums * q.input_offset).astype(np.int32)
    multiplier = q.factors.multiplier.astype(np.int32)
    shift = np.where(multiplier == 0, -1, q.factors.shift).astype(np.int32)
    return bias, multiplier, shift


def row(
    dense: Model, index: int, pool: TablePool, table: Int32, channels: int
) -> list[tuple[str, ...]]:
    """The one row of a region, of which `channels` are read; `table` goes to the pool, flat."""
    op, region = dense.graph.ops[index], dense.regions[0]
    q = layer_requantization(dense, index)
    name = f"{op.name}_channels_{region.dp}"
    pool.add(name, table.reshape(-1))
    source, target = region.types[op.input], region.types[op.output]
    zero = quantization(source).zero_point
    numbers = (channels, target.channels, zero, q.output_offset)
    return [(*map(str, (*numbers, q.activation_min, q.activation_max)), name)]


def filled(values: npt.NDArray[np.generic], axis: int, multiple: int) -> npt.NDArray[np.generic]:
    """An array with zeros behind it along an axis, up to a multiple."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, -values.shape[axis] % multiple)
    return np.pad(values, widths)
