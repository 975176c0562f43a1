"""What a region gives and what it costs: the points of a trade-off, and which are worth taking.

Cost is the median of the counted instructions where every region of every profile has it, else the
number of multiply-accumulates, which every target knows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tesla_host.results import Profile, RegionResult

Unit = Literal["instructions", "MACs"]

LOSSES = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05)
"""Accuracy that a reader may be ready to give up, as fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One region: accuracy is a fraction, `cost` is in the trade-off's unit."""

    dp: int
    cost: int
    accuracy: float
    accuracy_float: float | None
    dominated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The cheapest region that loses at most `loss` against the most accurate one."""

    loss: float
    point: Point


def unit_of(profiles: Sequence[Profile]) -> Unit:
    """The unit in which all these profiles can be compared."""
    regions = [region for profile in profiles for region in profile.regions]
    return "instructions" if all(region.instructions for region in regions) else "MACs"


def cost(region: RegionResult, unit: Unit) -> int:
    """What one inference of `region` costs."""
    if unit == "instructions" and region.instructions:
        return region.instructions.median
    return region.macs


def points(profile: Profile, unit: Unit) -> tuple[Point, ...]:
    """The regions by ascending cost; `dominated` looks at this profile alone."""
    pairs = [(cost(region, unit), region.accuracy) for region in profile.regions]
    found = [
        Point(
            dp=region.dp,
            cost=price,
            accuracy=region.accuracy,
            accuracy_float=region.accuracy_float,
            dominated=any(_dominates(other, (price, region.accuracy)) for other in pairs),
        )
        for region, (price, _) in zip(profile.regions, pairs, strict=True)
    ]
    return tuple(sorted(found, key=lambda point: (point.cost, point.dp)))


def picks(candidates: Sequence[Point]) -> tuple[Pick, ...]:
    """For each loss that buys something, the cheapest region within it; the smallest loss first."""
    best = max(point.accuracy for point in candidates)
    found: list[Pick] = []
    for loss in LOSSES:
        within = [point for point in candidates if point.accuracy >= best - loss - 1e-12]
        point = min(within, key=lambda point: (point.cost, -point.accuracy))
        if not found or point.cost < found[-1].point.cost:
            found.append(Pick(loss=loss, point=point))
    return tuple(found)


def uncertainty(regions: Sequence[RegionResult]) -> float | None:
    """Half of the widest 95 % interval (normal approximation of the binomial), as a fraction."""
    widths = [
        1.96 * math.sqrt(max(region.accuracy * (1 - region.accuracy), 0.0) / region.samples)
        for region in regions
        if region.samples > 0
    ]
    return max(widths, default=None)


def _dominates(one: tuple[int, float], other: tuple[int, float]) -> bool:
    """Whether `one` is at most as costly and at least as accurate, and better in one of them."""
    return one != other and one[0] <= other[0] and one[1] >= other[1]
