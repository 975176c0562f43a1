"""Every variant names all the files that its kernel calls into: its project links on its own.

Symbols are read from objects, compiled for a core with the instruction set and for this machine,
because the assembly and its plain C do not call the same functions.
"""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from conftest import require
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from graphs import (
    every_operation,
    filtered_model,
    layered_model,
    narrow_model,
    quantized_model,
    wide_model,
)
from test_generated_layers import gcc

from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize, Variant
from tesla_embed.ir.graph import Model
from tesla_host.compilers import find_compiler

FIRMWARE = Path(str(files("tesla_firmware")))
CORES = {Isa.PORTABLE: "cortex-m4", Isa.DSP: "cortex-m4", Isa.HELIUM: "cortex-m55"}
ENDINGS = {Isa.PORTABLE: ("_s8", "_s4"), Isa.DSP: ("_dsp",), Isa.HELIUM: ("_helium",)}


@cache
def models() -> tuple[Model, ...]:
    makers = ((layered_model, 50), (wide_model, 24), (filtered_model, 8), (quantized_model, 12))
    random = (make(seed) for make, count in makers for seed in range(count))
    return (*random, *map(narrow_model, range(8)), every_operation())


def variants(isa: Isa) -> Iterator[Variant]:
    for optimize in Optimize if isa is Isa.DSP else (Optimize.BALANCED,):
        for model in models():
            yield from (v for v in choose(model, isa, optimize) if v is not None)


def declared(isa: Isa) -> set[str]:
    """The kernels that the headers declare for an instruction set."""
    headers = (FIRMWARE / "include" / "tesla").glob("kernels*.h")
    names = {n for h in headers for n in re.findall(r"^void (tesla_\w+)\(", h.read_text(), re.M)}
    return {name for name in names if name.endswith(ENDINGS[isa])}


def symbols(kernel: str, command: tuple[str, ...], folder: Path) -> tuple[set[str], set[str]]:
    """What a file defines for others, and what it needs of them; `tesla_` only."""
    include, source = FIRMWARE / "include", FIRMWARE / "kernels" / f"{kernel}.c"
    made = folder / "object.o"
    subprocess.run([*command, "-O2", "-I", include, "-c", source, "-o", made], check=True)
    with made.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        found = [s for s in table.iter_symbols() if s.name.startswith("tesla_")]
        shared = [s for s in found if s["st_info"]["bind"] != "STB_LOCAL"]
        defined = {s.name for s in shared if s["st_shndx"] != "SHN_UNDEF"}
    return defined, {s.name for s in shared} - defined


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("isa", Isa)
def test_every_function_that_is_called_is_there(tmp_path: Path, isa: Isa, here: bool) -> None:
    flags = ("-std=c99", f"-mcpu={CORES[isa]}", "-mthumb", "-mfpu=auto", "-mfloat-abi=hard")
    cross = () if here else (*require(lambda: find_compiler("gcc")).command, *flags)
    command = tuple(require(gcc)) if here else cross
    known = cache(lambda kernel: symbols(kernel, command, tmp_path))
    missing: set[tuple[str, str]] = set()
    seen: set[str] = set()
    for variant in variants(isa):
        sources = [known(name) for name in (variant.kernel, *variant.helpers)]
        defined = set[str]().union(*(source[0] for source in sources))
        fields = " ".join(variant.layer.fields) if variant.layer is not None else ""
        needed = {variant.kernel, *re.findall(r"\btesla_\w+", f"{fields} {variant.unpack}")}
        needed = needed.union(*(source[1] for source in sources))
        missing |= {(variant.kernel, name) for name in needed - defined}
        seen.add(variant.kernel)
    assert missing == set()
    assert seen >= declared(isa)
