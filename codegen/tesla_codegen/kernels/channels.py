"""Requantisation in the fewest instructions: a few int32 per output channel and region.

Of an accumulator `a`, of which the bias is part:

- `channel_table`, for what rounds once (fully connected: `h = (a * m) >> 32`, SMMUL) or twice
  (depthwise: `h = a + ((a * multiplier + 2^31) >> 32)`, SMMLAR, `multiplier = 2 m - 2^32` for the
  factor's 31-bit mantissa m, which is `(2 a m + 2^31) >> 32`, the doubling high product; to it
  `h >> 31` is added, so that halves of the following shift go away from zero). The output is
  `(h + rounding) >> shift` with `rounding = 2^(shift - 1) + (output offset << shift)`: the offset
  is a whole number of outputs. Rounding once, with `s >= 1`,
  `floor((a m + 2^(31 + s)) / 2^(32 + s)) = floor((floor(a m / 2^32) + 2^(s - 1)) / 2^s)`, because
  the term that rounds is a multiple of 2^32.
- `scaled_table`, for convolutions: the same h, but the shift is by 16 for every channel:
  `((h >> e) * scale + 2^15) >> 16` with `scale = 2^(16 - shift + e)` is
  `(h + 2^(shift - 1)) >> shift`, as 2^(shift - 1) is a multiple of 2^e. `h >> 31` is added only
  where the activation does not clamp at the zero point, which hides what halves of negative h
  become.

All need a mantissa of 31 bits, |a| < 2^29 and shifts of 1 to 22, with which no step overflows:
|h| < 2^29 + 1, |rounding| <= 2^29 + 2^21. A scaled table also needs outputs that do not exceed 2^15
by far, |h scale / 2^e| < 2^31 - 2^24, and scales of 2 and more, of 4 and more with an e: the lowest
bits of what is added to them are free to tell a kernel how it rounds. e, one for all channels, is
as small as that allows, and smaller than each shift. Where numbers are otherwise there is no table,
and the portable kernel computes the operation.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import CodegenError
from tesla_embed.ir.fixedpoint import Int64
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import FullyConnected, Weighted
from tesla_embed.ir.requantization import Requantization, quantization, requantization
from tesla_embed.ir.types import Quantization

_REACH = 2**29
_SHIFTS = (1, 22)
_SCALED_REACH = 2**31 - 2**24
_PLAIN_SHIFT = 15
"""The largest shift for which a scale is 2 and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledTable:
    """`channels` `[out, 3]`: bias, multiplier and scale of each active channel; the shift `early`
    is 0 or, with `away`, e; `away` says whether halves have to go away from zero."""

    channels: npt.NDArray[np.int32]
    away: bool
    early: int


def layer_requantization(dense: Model, index: int) -> Requantization:
    """The integers of operation `index` of a region's dense model. Raises `CodegenError`."""
    op, region = dense.graph.ops[index], dense.regions[0]
    table = region.tables[index]
    if table is None or not isinstance(op, Weighted):
        raise CodegenError(f"{op.name}: has no table at {region.dp} % DP")
    return requantization(op, table, region.types[op.input], region.types[op.output])


def reads_all_channels(model: Model, op: Weighted) -> bool:
    """Whether every region computes all channels of the input."""
    source = model.graph.tensors[op.input].type
    return all(region.types[op.input].channels == source.channels for region in model.regions)


def sum_range(op: Weighted, source: Quantization) -> tuple[Int64, Int64]:
    """Smallest and largest sum `[out]` of a dense operation without its bias.

    Taps beside the image count as zero, which lies within the range of an input with its offset.
    """
    rows = op.weights.data.reshape(len(op.weights.data), -1)
    positive = np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    negative = np.minimum(rows, 0).sum(axis=1, dtype=np.int64)
    least, most = -128 - source.zero_point, 127 - source.zero_point
    return positive * least + negative * most, positive * most + negative * least


def dense_sum_range(dense: Model, index: int) -> tuple[Int64, Int64]:
    """`sum_range` of operation `index` of a region's dense model."""
    op = dense.graph.ops[index]
    if not isinstance(op, Weighted):
        raise CodegenError(f"{op.name}: has no weights")
    return sum_range(op, quantization(dense.regions[0].types[op.input]))


def channel_table(dense: Model, index: int) -> npt.NDArray[np.int32] | None:
    """`[out, 4]`: bias, multiplier, rounding and shift of each active channel of an operation.

    `None` where the conditions above do not hold in this region.
    """
    numbers = _numbers(dense, index)
    if numbers is None:
        return None
    q, mantissa, shift, _ = numbers
    once = isinstance(dense.graph.ops[index], FullyConnected)
    multiplier = mantissa if once else 2 * mantissa - 2**32
    rounding = (np.int64(1) << (shift - 1)) + (np.int64(q.output_offset) << shift)
    return np.stack([q.bias.astype(np.int64), multiplier, rounding, shift], axis=1).astype(np.int32)


def scaled_table(dense: Model, index: int) -> ScaledTable | None:
    """The table of a convolution; `None` where the conditions above do not hold in this region."""
    numbers = _numbers(dense, index)
    if numbers is None:
        return None
    q, mantissa, shift, reach = numbers
    widest = int(shift.max())
    early = widest - (_PLAIN_SHIFT - 1) if widest > _PLAIN_SHIFT else 0
    if early >= int(shift.min()):
        return None
    scale = np.int64(1) << (16 + early - shift)
    if ((((reach * mantissa >> 31) + 2 >> early) + 1) * scale >= _SCALED_REACH).any():
        return None
    rows = np.stack([q.bias.astype(np.int64), 2 * mantissa - 2**32, scale], axis=1)
    away = early > 0 or q.activation_min < q.output_offset
    return ScaledTable(channels=rows.astype(np.int32), away=away, early=early)


def _numbers(dense: Model, index: int) -> tuple[Requantization, Int64, Int64, Int64] | None:
    """Integers, mantissas, shifts to the right and largest accumulators `[out]` of an operation.

    `None` where they are out of range.
    """
    q = layer_requantization(dense, index)
    low, high = dense_sum_range(dense, index)
    mantissa = q.factors.multiplier.astype(np.int64)
    once = isinstance(dense.graph.ops[index], FullyConnected)
    shift = -q.factors.shift.astype(np.int64) - (1 if once else 0)
    reach: Int64 = np.maximum(-(low + q.bias), high + q.bias)
    fits = (reach < _REACH) & (shift >= _SHIFTS[0]) & (shift <= _SHIFTS[1]) & (mantissa >= 2**30)
    return (q, mantissa, shift, reach) if fits.all() else None
