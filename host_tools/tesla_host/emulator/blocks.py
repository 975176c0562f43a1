"""Counts of executed basic blocks, from which instructions and cycles follow.

In: the emulator's block events (address and size of each block that begins). Out: the exact number
of instructions, the estimated cycles and the number per instruction class. Counting is cheap
because a block is decoded once; sums are formed when someone asks. An instruction that its IT block
skips counts: the CPU fetches it and spends its cycle.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tesla_host.emulator.timing import BlockTiming, block_timing


class Stoppable(Protocol):
    """What the counter needs of an emulated CPU."""

    def emu_stop(self) -> None:
        """Stop before the block that begins."""


@dataclass(slots=True)
class _Block:
    size: int
    instructions: int
    following: int
    timing: BlockTiming
    count: int = 0
    taken: int = 0


class BlockCounter:
    """Counts what a CPU executes; `read_code(address, size)` gives the block's machine code."""

    def __init__(self, read_code: Callable[[int, int], bytes]) -> None:
        self.instructions = 0
        self.limit = 0  # set it to 0 to have the CPU stop before the next block
        self._read_code = read_code
        self._current: dict[int, _Block] = {}
        self._known: dict[tuple[int, int], _Block] = {}
        self._previous = _Block(0, 0, 0, BlockTiming(0, 0, ()))  # before the first one

    def enter(self, cpu: Stoppable, address: int, size: int, _: object = None) -> None:
        """A block begins: the emulator's block hook. At the limit, stops before it, uncounted."""
        if self.instructions >= self.limit:
            cpu.emu_stop()
            return
        block = self._current.get(address)
        if block is None or block.size != size:
            block = self._decode(address, size)
        previous = self._previous
        if previous.following != address:
            previous.taken += 1
        block.count += 1
        self.instructions += block.instructions
        self._previous = block

    def cycles(self) -> int:
        """Estimated cycles so far (see `timing`)."""
        return sum(
            block.count * block.timing.cycles + block.taken * block.timing.taken_penalty
            for block in self._known.values()
        )

    def classes(self) -> dict[str, int]:
        """Executed instructions of each class so far; they add up to `instructions`."""
        total: Counter[str] = Counter()
        for block in self._known.values():
            for name, number in block.timing.classes:
                total[name] += number * block.count
        return dict(total)

    def _decode(self, address: int, size: int) -> _Block:
        block = self._known.get((address, size))
        if block is None:
            timing = block_timing(self._read_code(address, size), address)
            instructions = sum(number for _, number in timing.classes)
            block = _Block(size, instructions, address + size, timing)
            self._known[address, size] = block
        self._current[address] = block
        return block
