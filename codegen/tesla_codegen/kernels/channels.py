"""Requantisation in the fewest instructions: four int32 per output channel and region.

An accumulator `a`, of which the bias is part, becomes `SSAT8((h + rounding) >> shift)`:

- convolutions, which round twice: `h = a + ((a * multiplier + 2^31) >> 32)` (SMMLAR), with
  `multiplier = 2 m - 2^32` for the factor's 31-bit mantissa m. This is
  `(2 a m + 2^31) >> 32`, the doubling high product. To it `h >> 31` is added, so that halves of the
  following shift go away from zero;
- fully connected layers, which round once: `h = (a * m) >> 32` (SMMUL). With `s >= 1`,
  `floor((a m + 2^(31 + s)) / 2^(32 + s)) = floor((floor(a m / 2^32) + 2^(s - 1)) / 2^s)`, because
  the term that rounds is a multiple of 2^32.

`rounding` is `2^(shift - 1) + (output offset << shift)`: the offset is a whole number of outputs.
Both need `1 <= shift <= 22` and a mantissa of 31 bits; no step overflows while |a| < 2^29, since
|h| < 2^29 + 1 and |rounding| <= 2^29 + 2^21. Where a channel's numbers are otherwise there is no
table, and the portable kernel computes the operation.
"""

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


def layer_requantization(dense: Model, index: int) -> Requantization:
    """The integers of operation `index` of a region's dense model. Raises `CodegenError`."""
    op, region = dense.graph.ops[index], dense.regions[0]
    table = region.tables[index]
    if table is None or not isinstance(op, Weighted):
        raise CodegenError(f"{op.name}: has no table at {region.dp} % DP")
    return requantization(op, table, region.types[op.input], region.types[op.output])


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
    q = layer_requantization(dense, index)
    low, high = dense_sum_range(dense, index)
    mantissa = q.factors.multiplier.astype(np.int64)
    once = isinstance(dense.graph.ops[index], FullyConnected)
    shift = -q.factors.shift.astype(np.int64) - (1 if once else 0)
    multiplier = mantissa if once else 2 * mantissa - 2**32
    reach = np.maximum(-(low + q.bias), high + q.bias)
    fits = (reach < _REACH) & (shift >= _SHIFTS[0]) & (shift <= _SHIFTS[1]) & (mantissa >= 2**30)
    if not fits.all():
        return None
    rounding = (np.int64(1) << (shift - 1)) + (np.int64(q.output_offset) << shift)
    return np.stack([q.bias.astype(np.int64), multiplier, rounding, shift], axis=1).astype(np.int32)
