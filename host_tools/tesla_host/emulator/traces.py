"""Executed blocks of a firmware under QEMU, and the cycles estimated from them.

In: the trace that QEMU wrote (`link.qemu.command_line`), the firmware's ELF, and the name of the
function that reads the counters. Out: instructions and estimated cycles (`vector_timing`) between
the entries of that function. Refuses, with `DeviceError`, a trace that executes what was never
translated.

QEMU tells the addresses of a block when it translates it, and then one line for each time that it
begins to execute one. Two further lines take that back: it was stopped before it began, or, at a
device, after a part of it.
"""

import bisect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tesla_embed.errors import DeviceError
from tesla_host.elf import Image, read_image
from tesla_host.emulator.vector_timing import Unit, VectorTiming, vector_timing

_EXECUTED = re.compile(r"Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/[0-9a-f]+/([0-9a-f]+)\]")
_DECODED = re.compile(r"0x([0-9a-f]+):  ((?:[0-9a-f]{4} ?)+)")
_STOPPED, _REWOUND = "Stopped execution of TB", "cpu_io_recompile: rewound execution of TB to "


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was executed from one reading of the counters to the next."""

    instructions: int
    cycles: int


def read_stretches(trace: Path, elf: Path, function: str) -> list[Stretch]:
    """All that was executed after the first entry of `function`, cut where it is entered again."""
    image = read_image(elf)
    known = dict(zip(image.symbols.names, image.symbols.starts, strict=True))
    if function not in known:
        raise DeviceError(f"{elf} has no function {function}; build it again")
    timing = _timing(image)
    before: Unit | None = None
    found: list[Stretch] = []
    instructions = cycles = 0
    counting = False
    with trace.open(encoding="utf-8", errors="replace") as stream:
        for start, end in executed_blocks(stream):
            if start == known[function]:
                if counting:
                    found.append(Stretch(instructions, cycles))
                counting, instructions, cycles = True, 0, 0
            block = timing(start, end, before)
            instructions += block.instructions
            cycles += block.cycles
            before = block.last
    return found


def executed_blocks(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """First address and the address behind the last of all blocks that were executed, in turn."""
    ends: dict[tuple[str, str], int] = {}
    translated: tuple[int, int] | None = None
    waiting: tuple[int, int] | None = None
    for line in lines:
        if match := _EXECUTED.match(line):
            if waiting is not None:
                yield waiting
            key = (match[1], match[2])
            start = int(match[1], 16)
            if translated is not None and translated[0] == start:
                ends[key] = translated[1]
            translated = None
            if key not in ends:
                raise DeviceError(f"the trace executes 0x{match[1]}, which was not translated")
            waiting = (start, ends[key])
        elif match := _DECODED.match(line):
            address = int(match[1], 16)
            end = address + len(match[2].replace(" ", "")) // 2
            translated = (address if translated is None else translated[0], end)
        elif line.startswith(_STOPPED):
            waiting = None
        elif line.startswith(_REWOUND) and waiting is not None:
            place = int(line[len(_REWOUND) :].split()[0], 16)
            waiting = (waiting[0], place) if place > waiting[0] else None
    if waiting is not None:
        yield waiting


def _timing(image: Image) -> Callable[[int, int, Unit | None], VectorTiming]:
    """What tells the cost of a block of the firmware; each is looked at once."""
    segments = sorted(image.segments, key=lambda segment: segment.address)
    starts = [segment.address for segment in segments]

    @cache
    def timing(start: int, end: int, before: Unit | None) -> VectorTiming:
        index = bisect.bisect_right(starts, start) - 1
        code = segments[index].data[start - starts[index] : end - starts[index]]
        if index < 0 or len(code) < end - start:
            raise DeviceError(f"the trace executes 0x{start:x}, which is no code of the firmware")
        return vector_timing(code, before)

    return timing
