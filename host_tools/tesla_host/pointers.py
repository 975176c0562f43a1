"""Which functions a pointer may name: those whose address some object stores or computes.

In: relocatable objects of an Arm program. Out: names of functions. What calls through a pointer in
a program of these objects alone can only reach them. Refuses a file that is no Arm object with
`ToolchainError`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from tesla_embed.errors import ToolchainError

_BRANCHES = frozenset({10, 30, 51, 102, 103})
"""R_ARM_THM_CALL, _JUMP24, _JUMP19, _JUMP11, _JUMP8: they go to a function and take no address."""
_ALLOC = 0x2


def pointed_functions(objects: Iterable[Path]) -> frozenset[str]:
    """The functions whose addresses are taken, by name.

    An address within a section that holds one function counts as that function's.
    """
    return frozenset(name for path in objects for name in _pointed(path))


def _pointed(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as stream:
            image = ELFFile(stream)
            if image["e_type"] != "ET_REL" or image.get_machine_arch() != "ARM":
                raise ToolchainError(f"{path} is no object for Arm; build it again")
            for section in image.iter_sections():
                if isinstance(section, RelocationSection) and _loaded(image, section):
                    yield from _named(image, section)
    except ELFError as error:
        raise ToolchainError(f"{path} is no object ({error}); build it again") from error


def _loaded(image: ELFFile, section: RelocationSection) -> bool:
    """Whether what is relocated is code or data of the program: debug information is not, nor are
    the tables for unwinding, which name every function."""
    of = image.get_section(section["sh_info"])
    return bool(of["sh_flags"] & _ALLOC) and of["sh_type"] != "SHT_ARM_EXIDX"


def _named(image: ELFFile, section: RelocationSection) -> Iterator[str]:
    table = image.get_section(section["sh_link"])
    assert isinstance(table, SymbolTableSection)
    functions = [s for s in table.iter_symbols() if s["st_info"]["type"] == "STT_FUNC"]
    for relocation in section.iter_relocations():
        if relocation["r_info_type"] in _BRANCHES:
            continue
        symbol = table.get_symbol(relocation["r_info_sym"])
        kind = symbol["st_info"]["type"]
        if kind == "STT_SECTION":
            yield from (f.name for f in functions if f["st_shndx"] == symbol["st_shndx"])
        elif kind == "STT_FUNC" or symbol["st_shndx"] == "SHN_UNDEF":
            yield symbol.name
