"""What a network needs of flash and RAM, without the firmware around it.

In: a build of a generated project. Out: a `Footprint`. The library's objects are linked once more
with the smallest program that uses it, one instance, one arena, one input, one output and the calls
of `init`, `set_dp` and `run`: whatever the linker keeps, the compiler's own functions included, is
the network's cost. Stack is the bound that the compiler's frames give along the calls of `run`, or,
where the machine code does not tell, the high-water mark of the whole firmware.
"""

from dataclasses import dataclass
from pathlib import Path

from tesla_codegen.lower import Project
from tesla_host.build import BuildResult, choose_toolchain, link_flags, machine_flags
from tesla_host.elf import read_image
from tesla_host.stack_bound import run_stack
from tesla_host.targets import Target
from tesla_host.toolchain import Unit, build_elf, find_compiler

_PROGRAM = """#include "{prefix}.h"
{prefix}_t instance;
uint64_t arena[{macro}_ARENA_BYTES / sizeof(uint64_t)];
int8_t input[{macro}_INPUT_BYTES];
int8_t output[{macro}_OUTPUT_BYTES];
volatile uint8_t percent;
int Reset_Handler(void);
int Reset_Handler(void) {{
    return {prefix}_init(&instance, arena) | {prefix}_set_dp(&instance, percent) |
           {prefix}_run(&instance, input, output);
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes. `weights_bytes`, the packed weights, are part of `flash_bytes`; `tables_bytes`, what
    the regions add, too. `ram_bytes` is arena, input, output and instance, without `stack_bytes`.
    """

    flash_bytes: int
    weights_bytes: int
    tables_bytes: int
    ram_bytes: int
    stack_bytes: int


def measure_footprint(
    build: BuildResult,
    project: Project,
    folder: Path,
    target: Target,
    high_water_bytes: int,
    toolchain: str | None = None,
) -> Footprint:
    """The footprint of what `build` built in `folder` from the project in `folder/project`.

    `high_water_bytes` is the stack that the firmware was seen to use. Raises `ToolchainError`.
    """
    kind = choose_toolchain(target, toolchain)
    source = folder / "smallest" / "program.c"
    source.parent.mkdir(exist_ok=True)
    source.write_text(_PROGRAM.format(prefix=project.prefix, macro=project.macro), encoding="utf-8")
    elf = source.with_name("program.elf")
    build_elf(
        find_compiler(kind),
        [Unit(source=source, flags=("-Os", *machine_flags(target, kind)))],
        [
            *map(str, build.library.objects if build.library else ()),
            *link_flags(target, kind, folder / "static"),
        ],
        [folder / "project" / "include"],
        source.parent,
        elf,
    )
    image = read_image(elf)
    bound = run_stack(build.elf, build.frames, project.prefix)
    return Footprint(
        flash_bytes=image.flash_bytes,
        weights_bytes=project.weights_bytes,
        tables_bytes=project.region_table_bytes,
        ram_bytes=image.ram_bytes,
        stack_bytes=high_water_bytes if bound is None else bound,
    )
