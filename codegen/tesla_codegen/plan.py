"""Memory plan: where each buffer lives in the one arena that the caller owns.

In: buffers with the steps they are needed in, and which of them may share bytes because a kernel
works in place. Out: a `Plan`, whose `bound_bytes` no arena can be smaller than: the gap to it is
what the search (`tesla_codegen.placement`) may have left. The same buffers give the same plan.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tesla_codegen.placement import Problem, first_fits, search

ALIGNMENT = 8
"""Bytes; what an array of uint64_t has, and more than any load of int8 data needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """A buffer of `size` bytes, needed from step `first` up to and including step `last`.

    One that a single step needs, with `first == last`, is scratch memory of that step.
    """

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a kernel that works in place allows, by the names of two buffers.

    `output` may share bytes with `input`, which dies in the step that makes `output`, if it begins
    at least `lead` bytes before `input`; 0 allows the same place.
    """

    output: str
    input: str
    lead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Offsets in bytes, in the order of the buffers given, and the size of the whole arena.

    `bound_bytes`: no placement of these buffers is smaller than this. It is the most that is alive
    at one step, or `arena_bytes` itself where all placements were searched.
    """

    buffers: tuple[Lifetime, ...]
    offsets: tuple[int, ...]
    shared: tuple[Shared, ...]
    arena_bytes: int
    bound_bytes: int


def plan(
    buffers: Sequence[Lifetime], alignment: int = ALIGNMENT, shared: Sequence[Shared] = ()
) -> Plan:
    """Place `buffers` so that those alive at the same time overlap only where `shared` allows it.

    Raises `ValueError` for a name that is not unique or unknown, and for a shared input that lives
    on after the step that makes the output.
    """
    problem = _problem(buffers, alignment, shared)
    best = first_fits(problem)
    height, bound = problem.height(best), problem.bound
    if height > bound:
        best, proven = search(problem, best)
        height = problem.height(best)
        bound = height if proven else bound
    return Plan(
        buffers=tuple(buffers),
        offsets=tuple(alignment * offset for offset in best),
        shared=tuple(shared),
        arena_bytes=alignment * height,
        bound_bytes=alignment * bound,
    )


def alive(plan: Plan, sizes: Sequence[int]) -> int:
    """The most bytes of the arena in use at one step when buffers hold `sizes` bytes (each at most
    its full size), as in a region that computes fewer channels. Shared bytes count once."""
    steps = {buffer.first for buffer in plan.buffers}
    spans = [*zip(plan.offsets, sizes, plan.buffers, strict=True)]
    return max(
        (_covered((at, at + size) for at, size, b in spans if b.first <= s <= b.last))
        for s in (steps or {0})
    )


def _covered(spans: Iterable[tuple[int, int]]) -> int:
    """How many bytes lie in at least one of `spans`."""
    total = end = 0
    for start, stop in sorted(spans):
        total += max(stop - max(start, end), 0)
        end = max(end, stop)
    return total


def _problem(buffers: Sequence[Lifetime], alignment: int, shared: Sequence[Shared]) -> Problem:
    """The same in units of `alignment`."""
    places = {buffer.name: index for index, buffer in enumerate(buffers)}
    if len(places) != len(buffers):
        raise ValueError("two buffers of a plan have the same name")
    leads = {}
    for entry in shared:
        if entry.output not in places or entry.input not in places:
            raise ValueError(f"{entry.output} cannot share with {entry.input}: no such buffer")
        output, source = places[entry.output], places[entry.input]
        if buffers[source].last != buffers[output].first:
            raise ValueError(f"{entry.input} is needed after {entry.output} has been made")
        leads[output, source] = -(-max(entry.lead, 0) // alignment)
    return Problem(
        sizes=tuple(-(-buffer.size // alignment) for buffer in buffers),
        spans=tuple((buffer.first, buffer.last) for buffer in buffers),
        leads=leads,
    )
