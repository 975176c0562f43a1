"""Integer factors that round exactly as a multiplication in float64 does.

In: real factors, and the accumulators they will meet. Out: a `Multiplier` for `requantize_once`,
whose results are those of `round(accumulator * factor)` in float64, halves away from zero, wherever
they fall within the few levels of an int8 output. TensorFlow Lite's reference kernel of fully
connected layers rounds so. Refuses, with `GraphError`, factors for which no 31-bit integer does it.

Both sides are monotone: if they agree on either side of each transition, of which int8 has at most
255, they agree everywhere. Transitions bound the factor from below and above: level n, reached
first at accumulator a, wants `a * factor >= n - 1/2 > (a - 1) * factor`. Usually the factor's own
31 bits lie between the bounds; with exact ties, which must go away from zero, one unit more does.
"""

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import GraphError
from tesla_embed.ir.fixedpoint import (
    INT32_MAX,
    Int64,
    Multiplier,
    quantize_multiplier,
    requantize_once,
)

Float64 = npt.NDArray[np.float64]
_CHANNELS = 1024
"""Channels looked at together; bounds the memory of a wide layer."""
_FAR = 2.0**40
"""Beyond every accumulator, and still exact in float64."""


def transition_factors(
    factor: Float64, low: Int64, high: Int64, levels: tuple[int, int]
) -> Multiplier:
    """Integers for positive factors `[C]` and accumulators from `low` to `high`, both int32 `[C]`.

    `levels` are the smallest and the largest result that matter, -255 to 255: beyond them an output
    saturates. Raises `GraphError` naming the first channel for which there are none.
    """
    starts = range(0, len(factor), _CHANNELS)
    parts = [slice(start, start + _CHANNELS) for start in starts]
    found = [_some(factor[p], low[p], high[p], levels, p.start) for p in parts]
    return Multiplier(
        np.concatenate([part.multiplier for part in found]),
        np.concatenate([part.shift for part in found]),
    )


def round_half_away(value: Float64) -> Int64:
    """The nearest integers, halves away from zero, as C's `round`; `value` below 2**62."""
    whole = np.trunc(value)
    away = np.where(np.abs(value - whole) >= 0.5, np.copysign(1.0, value), 0.0)
    return (whole + away).astype(np.int64)


def _some(
    factor: Float64, low: Int64, high: Int64, levels: tuple[int, int], start: int
) -> Multiplier:
    below, above = max(-levels[0], 0), max(levels[1], 0)
    up, down = _first(factor, above), _first(factor, below)
    bounds = (_bounds(up, low, high), _bounds(down, -high, -low))
    least = np.maximum(bounds[0][0], bounds[1][0])
    most = np.minimum(bounds[0][1], bounds[1][1])
    factors = _between(least, most, factor)
    probes = np.concatenate([up - 1, up, 1 - down, -down, low[:, None], high[:, None]], axis=1)
    probes = np.clip(probes, low[:, None], high[:, None])
    wanted = np.clip(round_half_away(probes * factor[:, None]), -below, above)
    made = np.clip(requantize_once(probes.T, factors).T, -below, above)
    wrong = np.flatnonzero((wanted != made).any(axis=1))
    if len(wrong):
        channel = int(wrong[0])
        raise GraphError(
            f"channel {start + channel}: no 31-bit multiplier rounds its sums, which reach "
            f"{max(-int(low[channel]), int(high[channel])):,}, as float64 does with the factor "
            f"{factor[channel]}; quantise with a smaller output range or fewer inputs"
        )
    return factors


def _first(factor: Float64, levels: int) -> Int64:
    """Smallest positive accumulators whose float64 product rounds to at least 1, 2, … `levels`."""
    tie = np.arange(1, levels + 1) - 0.5
    with np.errstate(over="ignore"):
        guess = np.minimum(tie / factor[:, None], _FAR)
    first = np.maximum(np.ceil(guess) - 2.0, 1.0)
    for _ in range(4):  # the quotient is rounded, too
        first += first * factor[:, None] < tie
    return first.astype(np.int64)


def _bounds(first: Int64, low: Int64, high: Int64) -> tuple[Float64, Float64]:
    """Open bounds of the factor from the levels on one side of zero, 0 and infinity if none."""
    tie = np.arange(1, first.shape[1] + 1) - 0.5
    at = np.maximum(first, low[:, None])
    before = np.minimum(first - 1, high[:, None])
    least = np.where(at <= high[:, None], tie / at, 0.0)
    reached = before >= np.maximum(low[:, None], 1)
    most = np.where(reached, tie / np.maximum(before, 1), np.inf)
    return least.max(axis=1, initial=0.0), most.min(axis=1, initial=np.inf)


def _between(least: Float64, most: Float64, factor: Float64) -> Multiplier:
    """The integers of `factor`, or else others between the open bounds, if there are any."""
    own = quantize_multiplier(factor)
    scale = 31 - own.shift.astype(np.int64)
    lower, upper = np.ldexp(least, scale), np.ldexp(most, scale)
    chosen = own.multiplier.astype(np.float64)
    for other in (chosen + 1.0, np.rint((lower + upper) / 2), np.floor(lower) + 1.0):
        inside = (lower < chosen) & (chosen < upper)
        chosen = np.where(inside | (own.multiplier == 0), chosen, other)
    return Multiplier(np.minimum(chosen, INT32_MAX).astype(np.int32), own.shift)
