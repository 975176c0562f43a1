"""The most stack that a call can take: frames that the compiler told, summed along the calls.

In: the ELF of an Arm program, the frames of its functions (`-fstack-usage`), and the functions that
pointers may name. Out: a `StackBound`. Calls are read from the machine code, because only the
linker knows which function of several with one name is meant, and what the compiler made of a call.
Of functions whose frames no compiler told (assembly, the compiler's own library) the instructions
that move the stack pointer are added up. Refuses recursion, and frames of variable size, with
`ToolchainError`.
"""

import bisect
import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tesla_embed.errors import ToolchainError

_CALLS = ("bl", "blx")
_BRANCH = re.compile(r"b(?:eq|ne|hs|lo|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?(?:\.[nw])?")
_JUMP = re.compile(r"(?:mov|ldr)(?:\.w)? pc, .*")
_STACK_JUMP = re.compile(r"ldr(?:\.w)? pc, \[sp(?:, #\w+)?\]")
"""To an address kept on the stack: one that the function computed itself (`adr`), or, from a part
of its code that another function branches to, back."""
_ADDRESS = re.compile(r"adr.*|(?:add|sub)w?(?:\.w)? \w+, pc, #.*")
"""`adr`; also as disassemblers call the wide one, as for registers from r8 on."""
_REGISTER_BYTES = {"r": 4, "l": 4, "p": 4, "i": 4, "f": 4, "s": 4, "d": 8, "q": 16}
_STACK_POINTER = "sp"
_WIDE = (0b11101, 0b11110, 0b11111)
"""The upper five bits of the first half of an instruction of 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackBound:
    """At most `bytes` of stack, reached along `path`, a chain of calls.

    `through_pointers` are the functions on any chain that call what a pointer names and nobody
    told; what that takes is not in `bytes`.
    """

    bytes: int
    path: tuple[str, ...]
    through_pointers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    """A function of the ELF: where it is, what it calls and how it moves the stack pointer."""

    name: str
    calls: frozenset[int]
    pointers: bool
    pushed: int | None


def read_frames(files: Iterable[Path]) -> dict[str, int]:
    """Bytes of each function's frame by its name, from what `-fstack-usage` wrote.

    Of several functions of one name, the largest frame counts. Raises `ToolchainError` for a frame
    whose size is not known before the program runs.
    """
    frames: dict[str, int] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            place, size, kind = line.rsplit("\t", 2)
            name = _plain(place.rsplit(":", 1)[1])
            if kind not in ("static", "dynamic,bounded"):
                raise ToolchainError(f"{file}: the frame of {name} is {kind}: it has no bound")
            frames[name] = max(frames.get(name, 0), int(size))
    return frames


def stack_bound(
    elf: Path,
    frames: Mapping[str, int],
    function: str,
    pointed: Collection[str] = (),
    outside: Collection[str] = (),
) -> StackBound:
    """The most stack that a call of `function` takes in the program `elf`.

    Pointers name one of the functions `pointed`, where there are any; but those that the functions
    `outside` call lead out of the program, and count as unknown.

    Raises `ToolchainError` for a function that is not there, recursion, a frame without a bound,
    and where capstone is not installed.
    """
    functions = _functions(elf)
    start = next((at for at, known in functions.items() if known.name == function), None)
    if start is None:
        raise ToolchainError(f"{elf} has no function {function}; build it from its own project")
    named = [at for at, known in functions.items() if _plain(known.name) in pointed]
    told = {at for at, known in functions.items() if named and known.name not in outside}
    depths: dict[int, tuple[int, tuple[int, ...]]] = {}

    def called(at: int) -> list[int]:
        through = named if functions[at].pointers and at in told else []
        return sorted({*functions[at].calls, *through})

    def deepest(at: int, above: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        if at in above:
            raise ToolchainError(f"{functions[at].name} calls itself: its stack has no bound")
        if at not in depths:
            below = [deepest(next_, (*above, at)) for next_ in called(at)]
            most, path = max(below, default=(0, ()))
            depths[at] = (most + _frame(functions[at], frames), (at, *path))
        return depths[at]

    bytes_, path = deepest(start, ())
    return StackBound(
        bytes=bytes_,
        path=tuple(functions[at].name for at in path),
        through_pointers=tuple(
            sorted({functions[a].name for a in depths if functions[a].pointers and a not in told})
        ),
    )


def _frame(function: _Function, frames: Mapping[str, int]) -> int:
    told = frames.get(_plain(function.name))
    if told is None and function.pushed is None:
        raise ToolchainError(f"{function.name} moves the stack pointer by a register: no bound")
    return max(told or 0, function.pushed or 0)  # of a naked function compilers tell 0


def _plain(name: str) -> str:
    """The name in the source: compilers append .constprop.0 and the like to copies."""
    return name.split(".", 1)[0]


def _functions(elf: Path) -> dict[int, _Function]:
    """By address, every function of an Arm ELF."""
    with elf.open("rb") as stream:
        image = ELFFile(stream)
        if image.get_machine_arch() != "ARM":
            raise ToolchainError(f"{elf} is for {image.get_machine_arch()}; only Arm is read")
        table = image.get_section_by_name(".symtab")
        symbols = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
        code = {
            index: (section["sh_addr"], section.data())
            for index, section in enumerate(image.iter_sections())
            if section["sh_flags"] & 0x4 and section["sh_type"] == "SHT_PROGBITS"
        }
    marks = sorted((s["st_value"], s.name[:2] == "$d") for s in symbols if s.name[:1] == "$")
    spans = {
        s["st_value"] & ~1: (s.name, s["st_size"], s["st_shndx"])
        for s in symbols
        if s["st_info"]["type"] == "STT_FUNC" and s["st_size"] and s["st_shndx"] in code
    }
    starts = sorted(spans)
    found = {}
    for at, (name, size, section) in spans.items():
        base, content = code[section]
        instructions = _instructions(content[at - base : at - base + size], at, marks)
        reached, pointers, pushed = _read(at, size, instructions)
        calls = []
        for target in reached:
            start = starts[max(bisect.bisect_right(starts, target) - 1, 0)]
            if not start <= target < start + spans[start][1]:
                raise ToolchainError(f"{elf}: {name} goes to 0x{target:x}, which is no function")
            calls.append(start)
        found[at] = _Function(name=name, calls=frozenset(calls), pointers=pointers, pushed=pushed)
    return found


def _instructions(content: bytes, at: int, marks: list[tuple[int, bool]]) -> list[Any]:
    """The instructions of a function. `marks` say from where on there are constants instead."""
    try:
        capstone: Any = import_module("capstone")
    except ImportError as error:
        raise ToolchainError(
            "reading machine code needs capstone: pip install 'tesla-embed[emulator]'"
        ) from error
    reader = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    end = at + len(content)
    edges = [at, *(place for place, _ in marks if at < place < end), end]
    found: list[Any] = []
    for begin, stop in itertools.pairwise(edges):
        before = bisect.bisect_right(marks, (begin, True)) - 1
        if before < 0 or not marks[before][1]:
            found += _decoded(reader, content[begin - at : stop - at], begin)
    return found


def _decoded(reader: Any, content: bytes, at: int) -> list[Any]:
    """The instructions that capstone knows.

    It stops at those of Helium; they move no stack pointer and call nothing, and are passed over.
    """
    found: list[Any] = []
    done = 0
    while done + 2 <= len(content):
        known = list(reader.disasm(content[done:], at + done))
        found += known
        done += sum(one.size for one in known)
        if done + 2 <= len(content):
            wide = content[done + 1] >> 3 in _WIDE
            done += 4 if wide else 2
    return found


def _read(at: int, size: int, instructions: list[Any]) -> tuple[set[int], bool, int | None]:
    """Where a function goes, whether it calls through pointers, and what it adds to the stack."""
    reached: set[int] = set()
    pointers, pushed, bounded, jumps = False, 0, True, False
    own = any(_ADDRESS.fullmatch(f"{one.mnemonic} {one.op_str}") for one in instructions)
    for one in instructions:
        mnemonic, operands = one.mnemonic, one.op_str
        target = int(operands[1:], 16) & ~1 if operands.startswith("#0x") else None
        text = f"{mnemonic} {operands}"
        if mnemonic in _CALLS or (_BRANCH.fullmatch(mnemonic) and target is not None):
            inside = target is not None and at <= target < at + size
            pointers |= target is None
            if target is not None and (mnemonic in _CALLS or not inside):
                reached.add(target)
        elif (mnemonic == "bx" and operands != "lr") or _JUMP.fullmatch(text):
            through_stack = _STACK_JUMP.fullmatch(text) is not None
            jumps |= through_stack
            pointers |= not through_stack
        else:
            moved = _moved(mnemonic, operands)
            bounded &= moved is not None
            pushed += moved or 0
    alone = not reached and not pushed  # such a jump goes back to who branched here
    return reached, pointers or (jumps and not own and not alone), pushed if bounded else None


def _moved(mnemonic: str, operands: str) -> int | None:
    """By how many bytes an instruction grows the stack; `None` where a register says it."""
    base = mnemonic.split(".")[0]
    if base in ("push", "vpush") or (base in ("stmdb", "vstmdb") and operands.startswith("sp!")):
        return sum(_REGISTER_BYTES[r.strip()[0]] for r in _listed(operands))
    if base in ("sub", "subw") and operands.split(",")[0].strip() == _STACK_POINTER:
        last = operands.rsplit(",", 1)[1].strip()
        return int(last[1:], 0) if last.startswith("#") else None
    written_back = re.search(r"\[sp, #-(\w+)\]!", operands)
    return int(written_back[1], 0) if written_back else 0


def _listed(operands: str) -> list[str]:
    """The registers between braces."""
    return operands[operands.index("{") + 1 : operands.index("}")].split(",")
