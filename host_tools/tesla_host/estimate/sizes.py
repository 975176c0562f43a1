"""What the kernels' code takes in flash, read from the objects that compilers make.

In: the objects of a build. Out: for each section that can be linked apart, its bytes and what it
needs beside itself; and from that, the bytes of any set of kernels. What the C library gives (such
as `memset`) is no part of it: every firmware has it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

_ALLOC, _EXIDX = 0x2, "SHT_ARM_EXIDX"


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A function with its constants: bytes of flash, and what it calls or points to."""

    bytes: int
    needs: list[str]


def read_code(objects: Iterable[Path]) -> dict[str, Code]:
    """By name, what stands in objects whose functions have sections of their own.

    A section is called like the function that others see in it, or `FILE:SECTION`.
    """
    found: dict[str, Code] = {}
    for path in objects:
        with path.open("rb") as stream:
            found |= _read(ELFFile(stream), path.stem.rsplit("-", 1)[0])
    return {name: code for name, code in sorted(found.items()) if code.bytes}


def _read(elf: ELFFile, stem: str) -> dict[str, Code]:
    table = elf.get_section_by_name(".symtab")
    symbols = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
    sections = list(elf.iter_sections())
    names = {index: f"{stem}:{section.name}" for index, section in enumerate(sections)}
    for symbol in symbols:
        if symbol["st_info"]["bind"] == "STB_GLOBAL" and symbol["st_shndx"] in names:
            names[symbol["st_shndx"]] = symbol.name
    needs: dict[int, set[str]] = {index: set() for index in names}
    for section in sections:
        if isinstance(section, RelocationSection):
            for relocation in section.iter_relocations():
                target = symbols[relocation["r_info_sym"]]
                known = names.get(target["st_shndx"])
                needs[section["sh_info"]].add(known or target.name)
    return {
        names[index]: Code(
            bytes=-(-section["sh_size"] // 4) * 4, needs=sorted(needs[index] - {names[index]})
        )
        for index, section in enumerate(sections)
        if section["sh_flags"] & _ALLOC and section["sh_type"] != _EXIDX
    }


def code_bytes(code: Mapping[str, Code], wanted: Iterable[str]) -> int:
    """Flash of functions and all that they need, each once."""
    return sum(code[name].bytes for name in reached(code, wanted))


def reached(code: Mapping[str, Code], wanted: Iterable[str]) -> set[str]:
    """Functions and all that they need."""
    waiting, seen = list(wanted), set()
    while waiting:
        name = waiting.pop()
        if name in code and name not in seen:
            seen.add(name)
            waiting += code[name].needs
    return seen
