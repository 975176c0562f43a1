"""Placing intervals: the search behind the memory plan.

Buffers are rectangles, as wide as the steps they live through, that may be moved up and down but
not overlap: dynamic storage allocation, which is NP-hard. Many greedy orders are tried first;
where none reaches the bound, a branch and bound of limited size follows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_NODES = 2000
"""Partial placements that one search looks at, at most; fewer where each takes longer."""
_WORK = 20_000_000
_ROUNDS = 40
"""How often an order of greedy placements is changed."""
_MOST_BUFFERS = 400
"""The search descends a level a buffer; more are placed greedily only."""
_FAR = np.iinfo(np.int64).max // 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Buffers by index: heights, first and last step, and which may share bytes.

    `leads[output, input]`: the output may overlap the input if it begins so much below it. From
    these follow `gaps[lower, upper]`, how far above buffer `lower` another must begin (-1 where
    the two are never alive together), `live[step, buffer]` at the steps where buffers begin, and
    `bound`, the most that is alive at one step if all that can be shared is.
    """

    sizes: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    leads: Mapping[tuple[int, int], int] = field(default_factory=dict)
    gaps: Int64 = field(init=False)
    live: Bools = field(init=False)
    bound: int = field(init=False)
    _pairs: Int64 = field(init=False)
    _begins: Int64 = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.sizes)
        steps = sorted({first for first, _ in self.spans})
        live = np.array([[a <= step <= b for a, b in self.spans] for step in steps], bool)
        live = live.reshape(len(steps), count)
        together = (live.T.astype(np.int64) @ live.astype(np.int64)) > 0
        np.fill_diagonal(together, False)
        sizes = np.array(self.sizes, np.int64)
        gaps = np.where(together, sizes.reshape(count, 1), -1)
        for (output, source), lead in self.leads.items():
            gaps[output, source] = min(lead, self.sizes[output])
        pairs = [
            (output, source, min(self.sizes[source], self.sizes[output] - gaps[output, source]))
            for output, source in self.leads
        ]
        begins = np.searchsorted(steps, [first for first, _ in self.spans])
        for name, value in (
            ("gaps", gaps),
            ("live", live),
            ("_pairs", np.array(pairs, np.int64).reshape(-1, 3)),
            ("_begins", begins.astype(np.int64)),
        ):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "bound", int(self.stacked(np.ones(count, bool)).max(initial=0)))

    def height(self, offsets: Sequence[int]) -> int:
        """The end of the highest buffer."""
        return max((at + size for at, size in zip(offsets, self.sizes, strict=True)), default=0)

    def stacked(self, chosen: Bools) -> Int64:
        """Per step, the least that those of `chosen` buffers take which are alive there."""
        sizes = np.array(self.sizes, np.int64)
        outputs, sources, bytes_ = self._pairs.T
        shared = np.zeros(len(sizes), np.int64)
        np.add.at(shared, outputs, np.where(chosen[outputs] & chosen[sources], bytes_, 0))
        saved = np.zeros(len(self.live), np.int64)
        np.add.at(saved, self._begins, np.minimum(shared, sizes))
        totals: Int64 = (self.live & chosen) @ sizes - saved
        return totals


def first_fits(problem: Problem) -> tuple[int, ...]:
    """The best of many greedy placements: each buffer at the lowest free place, in an order.

    Where no order reaches the bound, the orders are changed: what ended highest comes earlier.
    """
    best: tuple[int, ...] = ()
    height = _FAR
    orders = list(_orders(problem))
    for order in orders:
        found = _first_fit(problem, order)
        if problem.height(found) < height:
            best, height = found, problem.height(found)
        if height == problem.bound:
            return best
    for order in orders:
        for _ in range(min(_ROUNDS, _WORK // (100 * problem.gaps.size))):
            found = _first_fit(problem, order)
            ends = [at + size for at, size in zip(found, problem.sizes, strict=True)]
            if max(ends) < height:
                best, height = found, max(ends)
            if height == problem.bound:
                return best
            place = next(p for p, index in enumerate(order) if ends[index] == max(ends))
            order.insert(place // 2, order.pop(place))
    return best


def _orders(problem: Problem) -> Iterator[list[int]]:
    sizes, spans = problem.sizes, problem.spans
    loads = problem.live @ np.array(sizes, np.int64)
    peak: list[int] = np.where(problem.live, loads[:, None], 0).max(axis=0, initial=0).tolist()
    length = [last - first + 1 for first, last in spans]
    keys: tuple[Callable[[int], tuple[int, int]], ...] = (
        lambda i: (-sizes[i], spans[i][0]),
        lambda i: (-sizes[i] * length[i], spans[i][0]),
        lambda i: (-peak[i], -sizes[i]),
        lambda i: (-length[i], -sizes[i]),
        lambda i: (spans[i][0] % 2, -sizes[i]),  # a chain: every other buffer at the bottom
        lambda i: (-spans[i][1], -sizes[i]),  # results in place come to lie below
        lambda i: (spans[i][0], -sizes[i]),
    )
    for key in keys:
        ranks = [key(index) for index in range(len(sizes))]
        yield sorted(range(len(sizes)), key=ranks.__getitem__)


def _first_fit(problem: Problem, order: Sequence[int]) -> tuple[int, ...]:
    """Each buffer at the lowest place that those before it leave free."""
    gaps = problem.gaps
    offsets: dict[int, int] = {}
    for index in order:
        taken = sorted(
            (offset - int(gaps[index, other]), offset + int(gaps[other, index]))
            for other, offset in offsets.items()
            if gaps[index, other] >= 0
        )
        at = 0
        for low, high in taken:
            if low >= at:
                break
            at = max(at, high)
        offsets[index] = at
    return tuple(offsets[index] for index in range(len(order)))


@dataclass(slots=True)
class _Search:
    """Depth first: buffers are stacked by ascending offset, each as low as those below it allow.

    Every placement can be pushed down to one that arises this way, so an exhausted search has
    seen an optimal one. `nodes` limits it.
    """

    problem: Problem
    prefer: Int64
    best: tuple[int, ...]
    height: int
    nodes: int
    sizes: Int64 = field(init=False)
    offsets: Int64 = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = np.array(self.problem.sizes, np.int64)
        self.offsets = np.full(len(self.sizes), -1, np.int64)

    def run(self, floor: Int64, last: int = -1) -> None:
        """Place the buffers that have no offset yet, at `floor` or above; `last` came before."""
        open_ = self.offsets < 0
        if not open_.any():
            self.height = int((self.offsets + self.sizes).max())
            self.best = tuple(self.offsets.tolist())
            return
        for index in self._choices(floor, open_, last):
            if self.nodes <= 0 or self.height == self.problem.bound:
                return
            self.nodes -= 1
            at = int(floor[index])
            self.offsets[index] = at
            gaps = self.problem.gaps[index]
            above = np.maximum(floor, np.where(gaps >= 0, at + gaps, at))
            if self._least(above) < self.height:
                self.run(above, index)
            self.offsets[index] = -1

    def _choices(self, floor: Int64, open_: Bools, last: int) -> list[int]:
        """Which buffers may be next: those under which no other one fits."""
        limit = np.where(open_, floor + self.sizes, _FAR).min()
        fits = open_ & (floor < limit)
        if last >= 0:  # of two that do not touch and begin alike, the order does not matter
            alike = (floor == self.offsets[last]) & (self.problem.gaps[last] < 0)
            fits &= ~alike | (np.arange(len(floor)) > last)
        found: list[int] = np.flatnonzero(fits).tolist()
        return sorted(found, key=lambda i: (int(floor[i]), int(self.prefer[i]), i))

    def _least(self, floor: Int64) -> int:
        """No completion is lower than this."""
        open_ = self.offsets < 0
        done = np.where(open_, floor, self.offsets) + self.sizes
        here = self.problem.live & open_
        base = np.where(here, floor, _FAR).min(axis=1)
        stacked = np.where(here.any(axis=1), base + self.problem.stacked(open_), 0)
        return int(max(done.max(), stacked.max()))


def search(problem: Problem, start: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    """A placement no higher than `start`, and whether none is lower: all were looked at."""
    count = len(problem.sizes)
    if count > _MOST_BUFFERS:
        return start, False
    sizes = np.array(problem.sizes, np.int64)
    length = np.array([last - first + 1 for first, last in problem.spans], np.int64)
    nodes = min(_NODES, _WORK // problem.live.size)
    best, proven = start, False
    for prefer in (-sizes * length, -sizes, -length):
        state = _Search(problem, prefer, best, problem.height(best), nodes)
        state.run(np.zeros(count, np.int64))
        best, proven = state.best, state.nodes > 0
        if proven:
            break
    return best, proven
