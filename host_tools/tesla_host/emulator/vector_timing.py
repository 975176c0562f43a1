"""Estimated Cortex-M55 cycles of a block of code.

In: the machine code of a block (Thumb-2 with Helium), and the unit that the instruction before it
used. Out: its instructions and cycles. An ESTIMATE from a simple model of the pipeline, to be
taken as right within 20 %, and never compared with silicon:

- a vector instruction keeps its unit, that of loads and stores or that of arithmetic, for two
  cycles; one of them is hidden when the instruction before it is a vector's of the other unit;
- a load or store with a vector of addresses takes four;
- every other instruction takes one, but those that begin and end a hardware loop none;
- no wait states, no misses, no waiting for results.

Instructions are told apart by their encodings (Armv8-M Architecture Reference Manual, C2.4), as
disassemblers may not know Helium.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Unit(Enum):
    """What executes an instruction."""

    SCALAR = "scalar"
    LOOP = "loop"
    MEMORY = "vector memory"
    GATHER = "vector gather"
    ARITHMETIC = "vector arithmetic"


_ALONE = {Unit.SCALAR: 1, Unit.LOOP: 0, Unit.MEMORY: 2, Unit.GATHER: 4, Unit.ARITHMETIC: 2}
_HIDDEN = 1


@dataclass(frozen=True, slots=True)
class VectorTiming:
    """A block's `instructions`, its `cycles`, and the unit that its end leaves busy, if any."""

    instructions: int
    cycles: int
    last: Unit | None


def vector_timing(code: bytes, before: Unit | None) -> VectorTiming:
    """Add up a block; `before` is what the block before it left busy."""
    instructions = cycles = 0
    for first, second in _instructions(code):
        instructions += 1
        unit = classify(first, second)
        cycles += _ALONE[unit]
        if unit in (Unit.MEMORY, Unit.ARITHMETIC) and before not in (None, unit):
            cycles -= _HIDDEN
        if unit is Unit.SCALAR:
            before = None
        elif unit is not Unit.LOOP:
            before = Unit.MEMORY if unit is Unit.GATHER else unit
    return VectorTiming(instructions, cycles, before)


def classify(first: int, second: int) -> Unit:
    """The unit of an instruction by its halfwords; `second` is 0 where it has one."""
    if first & 0xFF80 == 0xF000 and second & 0xD001 == 0xC001:
        return Unit.LOOP  # LE, DLS, WLS and their forms with a tail
    ours = second & 0x0E00 == 0x0E00  # coprocessors 14 and 15
    if first & 0xEE00 == 0xEC00 and ours and first & 0xFFA0 != 0xEC00:
        return _memory(first, second)
    if first & 0xEF00 == 0xEF00 or (first & 0xEF00 == 0xEE00 and ours):
        return Unit.ARITHMETIC
    return Unit.SCALAR


def _memory(first: int, second: int) -> Unit:
    offsets = first & 0xEFA0 == 0xEC80 and not second & 0x1000
    bases = first & 0xFF00 == 0xFD00 and bool(second & 0x1000)
    return Unit.GATHER if offsets or bases else Unit.MEMORY


def _instructions(code: bytes) -> Iterator[tuple[int, int]]:
    offset = 0
    while offset < len(code):
        first = int.from_bytes(code[offset : offset + 2], "little")
        wide = first >> 11 in (0b11101, 0b11110, 0b11111)
        yield first, int.from_bytes(code[offset + 2 : offset + 4], "little") if wide else 0
        offset += 4 if wide else 2
