"""Memory plan: where each activation lives in the one arena that the caller owns.

Greedy by size, as TensorFlow Lite Micro's planner: the largest buffer first, each at the lowest
offset where it overlaps no buffer that is alive at the same time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 8
"""Bytes; what an array of uint64_t has, and more than any load of int8 data needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """A buffer of `size` bytes, needed from step `first` up to and including step `last`."""

    name: str
    size: int
    first: int
    last: int

    def overlaps(self, other: "Lifetime") -> bool:
        """Whether both buffers are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Offsets in bytes, in the order of the buffers given, and the size of the whole arena."""

    buffers: tuple[Lifetime, ...]
    offsets: tuple[int, ...]
    arena_bytes: int


def plan(buffers: Sequence[Lifetime], alignment: int = ALIGNMENT) -> Plan:
    """Place `buffers` so that those alive at the same time never overlap."""
    placed: list[tuple[int, Lifetime]] = []
    offsets = [0] * len(buffers)
    order = sorted(range(len(buffers)), key=lambda i: (-buffers[i].size, buffers[i].first, i))
    for index in order:
        buffer = buffers[index]
        offset = 0
        for start, other in sorted(placed, key=lambda entry: entry[0]):
            if not buffer.overlaps(other):
                continue
            if offset + buffer.size <= start:
                break
            offset = max(offset, _round_up(start + other.size, alignment))
        offsets[index] = offset
        placed.append((offset, buffer))
    arena = max((offset + buffer.size for offset, buffer in placed), default=0)
    return Plan(
        buffers=tuple(buffers), offsets=tuple(offsets), arena_bytes=_round_up(arena, alignment)
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
