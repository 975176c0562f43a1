"""What an ELF file of a firmware says about itself.

In: the path of a linked ELF. Out: sizes, segments to load, functions by address. Refuses a file
that is missing with `ToolchainError`, one that is no ELF or a damaged one with `ConfigError`.
"""

import bisect
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tesla_embed.errors import ConfigError, ToolchainError

_ALLOC, _WRITE = 0x2, 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Bytes to place at a physical address before the start."""

    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Symbols:
    """Functions by address."""

    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    names: tuple[str, ...]

    def function_at(self, address: int) -> str:
        """The function that holds `address`, or "?"."""
        index = bisect.bisect_right(self.starts, address) - 1
        if index < 0 or address >= self.starts[index] + max(self.sizes[index], 2):
            return "?"
        return self.names[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A firmware as its ELF describes it; `machine` is "ARM", "x64" and so on.

    `flash_bytes` counts code, constants and the initial values of variables (text + rodata +
    data); `ram_bytes` counts variables (data + bss) WITHOUT the stack, which is `stack_bytes`.
    """

    machine: str
    segments: tuple[Segment, ...]
    symbols: Symbols
    sections: dict[str, int]
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int


def read_image(path: Path) -> Image:
    """Read an ELF. Raises `ToolchainError` when there is none, `ConfigError` for a damaged one."""
    try:
        with path.open("rb") as stream:
            return _read(ELFFile(stream))
    except OSError as error:
        raise ToolchainError(f"cannot read {path}: {error.strerror}; build it first") from error
    except ELFError as error:
        raise ConfigError(f"{path} is no firmware ELF ({error}); build it again") from error


def _read(elf: ELFFile) -> Image:
    sections: dict[str, int] = {}
    flash = ram = stack = 0
    for section in elf.iter_sections():
        size, flags = section["sh_size"], section["sh_flags"]
        if not flags & _ALLOC or not size:
            continue
        sections[section.name] = size
        if section.name == ".stack":
            stack += size
            continue
        if section["sh_type"] != "SHT_NOBITS":
            flash += size
        if flags & _WRITE:
            ram += size
    for segment in elf.iter_segments():
        if len(segment.data()) < segment["p_filesz"]:
            raise ELFError("it ends too early")
    segments = tuple(
        Segment(address=segment["p_paddr"], data=segment.data())
        for segment in elf.iter_segments()
        if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
    )
    return Image(
        machine=elf.get_machine_arch(),
        segments=segments,
        symbols=_functions(elf),
        sections=sections,
        flash_bytes=flash,
        ram_bytes=ram,
        stack_bytes=stack,
    )


def _functions(elf: ELFFile) -> Symbols:
    table = elf.get_section_by_name(".symtab")
    found = sorted(
        (symbol["st_value"] & ~1, symbol["st_size"], symbol.name)
        for symbol in (table.iter_symbols() if isinstance(table, SymbolTableSection) else ())
        if symbol["st_info"]["type"] == "STT_FUNC"
    )
    starts, sizes, names = zip(*found, strict=True) if found else ((), (), ())
    return Symbols(tuple(starts), tuple(sizes), tuple(names))
