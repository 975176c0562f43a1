"""What the generated library alone takes: flash by kind, RAM and stack, without any application.

In: a firmware that was built, and the project it was built from. Out: a `Footprint`. The library's
objects are linked once more, on their own, with its four calls as the only roots: what the linker
keeps is what a user's firmware gets, down to the compiler's own memcpy. Refuses builds for this
machine with `ToolchainError`: a process's ELF says nothing of flash.
"""

from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tesla_codegen.lower import Project
from tesla_embed.atomic import replacing, write_bytes
from tesla_embed.errors import ToolchainError
from tesla_host.build import BuildResult
from tesla_host.pointers import pointed_functions
from tesla_host.stack_bound import stack_bound
from tesla_host.toolchain import link_elf

_INSTANCE_BYTES = 16
"""Three pointers and the region."""
_CALLS = ("init", "set_dp", "set_callback", "run")
_SCRIPT = """ENTRY({run})
EXTERN({calls})
SECTIONS
{{
    . = 0x1000;
    .text : {{ *(.text .text.*) }}
    .rodata : {{ *(.rodata .rodata.*) }}
    . = 0x20000000;
    .data : {{ *(.data .data.*) }}
    .bss : {{ *(.bss .bss.*) *(COMMON) }}
    /DISCARD/ : {{ *(.ARM.exidx .ARM.exidx.* .ARM.extab .ARM.extab.*) }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes of one library on one target.

    Flash: `weights`, `tables` (all other constants: those of regions and layers), `code` (kernels
    and the calls between them). RAM: `static` variables; what the caller owns, the `arena` and the
    `ends`: one input, one output and an instance; and `stack`, the most that a run takes without
    the callback, `None` where the machine code does not tell.
    """

    weights: int
    tables: int
    code: int
    static: int
    arena: int
    ends: int
    stack: int | None

    @property
    def flash(self) -> int:
        """All of the flash."""
        return self.weights + self.tables + self.code

    @property
    def ram(self) -> int | None:
        """All of the RAM, stack included."""
        return None if self.stack is None else self.static + self.arena + self.ends + self.stack


def footprint(build: BuildResult, project: Project) -> Footprint:
    """Link the library of `build` alone, to `library.elf` beside its firmware, and measure it.

    Raises `ToolchainError` for a build without a library for a microcontroller.
    """
    elf = _linked(build, project)
    sections, objects = _contents(elf)
    weights = sum(objects[array.name] for array in project.weights)
    return Footprint(
        weights=weights,
        tables=sections.get(".rodata", 0) - weights,
        code=sections.get(".text", 0),
        static=sections.get(".data", 0) + sections.get(".bss", 0),
        arena=project.arena_bytes,
        ends=project.input_bytes + project.output_bytes + _INSTANCE_BYTES,
        stack=_stack(build, project, elf),
    )


def library_stack(build: BuildResult, project: Project) -> int | None:
    """`Footprint.stack` alone; `None` for a build for this machine, too."""
    return None if build.library is None else _stack(build, project, _linked(build, project))


def _stack(build: BuildResult, project: Project, elf: Path) -> int | None:
    assert build.library is not None
    run = f"{project.prefix}_run"
    callers = {run, "done"}  # of the callback
    try:
        pointed = pointed_functions(build.library.objects)
        found = stack_bound(elf, build.frames, run, pointed, callers)
    except ToolchainError:
        return None
    return found.bytes if set(found.through_pointers) <= callers else None


def _linked(build: BuildResult, project: Project) -> Path:
    """The library alone, with its four calls."""
    library = build.library
    if library is None:
        raise ToolchainError(f"{build.elf} is no microcontroller's: its flash cannot be told")
    folder = build.elf.parent
    calls = [f"{project.prefix}_{call}" for call in _CALLS]
    script = folder / "library.ld"
    write_bytes(script, _SCRIPT.format(run=calls[-1], calls=" ".join(calls)).encode())
    elf = folder / "library.elf"
    flags = (*library.flags, "-Wl,--gc-sections", f"-Wl,-T,{script}")
    with replacing(elf) as temporary:
        link_elf(library.compiler, library.objects, flags, temporary)
    return elf


def _contents(elf: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Sizes of the sections that are loaded or reserved, and of the objects, by their names."""
    with elf.open("rb") as stream:
        image = ELFFile(stream)
        sections = {s.name: s["sh_size"] for s in image.iter_sections() if s["sh_flags"] & 0x2}
        table = image.get_section_by_name(".symtab")
        symbols = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
    objects = {s.name: s["st_size"] for s in symbols if s["st_info"]["type"] == "STT_OBJECT"}
    return sections, objects
