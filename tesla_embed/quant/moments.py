"""Means and second moments of what a weighted operation reads, in both networks and one region.

In: a lane of the lockstep that stands before an operation. Out: an `Observation`. The terms of a
dot product are the columns; outputs of a convolution that share their inputs are one group, and of
a depthwise convolution every input channel is a group of its own.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.ops import DepthwiseConv2D, FullyConnected, Weighted
from tesla_embed.ir.parts import active_indices
from tesla_embed.ir.specialize import active_weights
from tesla_embed.ir.windows import patches
from tesla_embed.quant.bitsplit import Moments
from tesla_embed.quant.lockstep import Lane, active_columns

Float64 = npt.NDArray[np.float64]
_ROWS = 20_000
"""Positions of all examples together that second moments are counted over, about."""
_SEED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What the active terms of an operation look like in one region, by group.

    `plain_mean` and `seen_mean` `[groups, k]` are the means in the float and in the quantised
    network; `plain`, `cross` and `seen` `[groups, k, k]` the centred second moments as in
    `Moments`, all zero where they were not asked for.
    """

    dp: int
    plain_mean: Float64
    seen_mean: Float64
    plain: Float64
    cross: Float64
    seen: Float64


def observe(lane: Lane, op: Weighted, *, second: bool) -> Observation:
    """Moments of the inputs of `op` in a region; `second` also asks for those of second order."""
    rng = np.random.default_rng([_SEED, lane.dp])
    count, sums, squares = 0, None, None
    for plain, seen in _terms(lane, op, rng):
        pair = np.stack([plain, seen])  # [2, groups, rows, k]
        count += pair.shape[2]
        first = pair.sum(axis=2)
        sums = first if sums is None else sums + first
        if second:
            turned = np.moveaxis(pair, 2, 3)
            made = np.stack([turned[0] @ plain, turned[1] @ plain, turned[1] @ seen])
            squares = made if squares is None else squares + made
    assert sums is not None
    means = sums / count
    if squares is None:
        squares = np.zeros((3, *means.shape[1:], 1))
        return Observation(lane.dp, means[0], means[1], squares[0], squares[1], squares[2])
    products = [means[a][:, :, None] * means[b][:, None, :] for a, b in ((0, 0), (1, 0), (1, 1))]
    centred = [square / count - product for square, product in zip(squares, products, strict=True)]
    return Observation(lane.dp, means[0], means[1], centred[0], centred[1], centred[2])


def blocks(
    op: Weighted, lanes: Sequence[Lane], seen: Sequence[Observation]
) -> list[tuple[slice, list[Moments]]]:
    """Rows of the full weights that share their inputs, and the moments of these, by region."""
    rows, size = len(op.weights.data), op.weights.data[0].size
    if not isinstance(op, DepthwiseConv2D):
        found = []
        for lane, one in zip(lanes, seen, strict=True):
            columns = active_columns(op, lane.parts[op.input], size)
            active = lane.region.types[op.output].channels
            found.append(Moments(one.dp, columns, active, one.seen[0], one.cross[0], one.plain[0]))
        return [(slice(0, rows), found)]
    channels = sum(part.full for part in lanes[0].parts[op.input])
    times = rows // channels
    places = [active_indices(lane.parts[op.input]).tolist() for lane in lanes]
    columns = np.arange(size)
    result = []
    for channel in range(channels):
        groups = [
            (one, active.index(channel))
            for one, active in zip(seen, places, strict=True)
            if channel in active
        ]
        moments = [
            Moments(one.dp, columns, times, one.seen[g], one.cross[g], one.plain[g])
            for one, g in groups
        ]
        result.append((slice(channel * times, (channel + 1) * times), moments))
    return result


def mean_outputs(op: Weighted, lane: Lane, rows: npt.NDArray[np.generic], mean: Float64) -> Float64:
    """The mean `[active out]` of the dot products of full weights `rows` with `mean` inputs."""
    shaped = rows.reshape(op.weights.data.shape)
    bare = _with(op, shaped)
    active = active_weights(bare, lane.parts[op.input], lane.parts[op.output])
    flat = active.reshape(len(active), -1).astype(np.float64)
    if len(mean) == 1 and not isinstance(op, DepthwiseConv2D):
        means: Float64 = flat @ mean[0]
        return means
    spread = np.repeat(mean, len(flat) // len(mean), axis=0)
    return np.asarray((flat * spread).sum(axis=1))


def _with(op: Weighted, data: npt.NDArray[np.generic]) -> Weighted:
    return dataclasses.replace(op, weights=dataclasses.replace(op.weights, data=data))


def _terms(lane: Lane, op: Weighted, rng: np.random.Generator) -> Iterator[tuple[Float64, Float64]]:
    """Per batch the terms `[groups, rows, k]` in the float and in the quantised network."""
    examples = len(lane.floats[op.input])
    for plain, seen in lane.batches(op.input):
        if isinstance(op, FullyConnected):
            yield plain.reshape(1, len(plain), -1), seen.reshape(1, len(seen), -1)
            continue
        views = [patches(x, op.window, 0.0) for x in (plain, seen)]
        height, width = views[0].shape[1:3]
        wanted = min(height * width, max(1, -(-_ROWS // examples)))
        chosen = np.sort(rng.permutation(height * width)[:wanted])
        cut = [view[:, chosen // width, chosen % width] for view in views]
        if isinstance(op, DepthwiseConv2D):
            shaped = [c.reshape(c.shape[0] * wanted, -1, c.shape[-1]) for c in cut]
            yield shaped[0].transpose(2, 0, 1), shaped[1].transpose(2, 0, 1)
        else:
            yield (
                cut[0].reshape(1, len(cut[0]) * wanted, -1),
                cut[1].reshape(1, len(cut[1]) * wanted, -1),
            )
