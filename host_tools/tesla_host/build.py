"""Build a generated project into firmware.

In: a project folder (`include/`, `src/`, `firmware/app_model.c`) and a target. Out: `firmware.elf`
in the output folder and what it needs of flash and RAM. Refuses a folder that is no project, or a
user's board that does not compile (`ConfigError`), other sources that do not (`ToolchainError`) and
firmware that does not fit the target (`CodegenError`); a previous `firmware.elf` survives every
failure here, where it is still the project's (see `workbench.make_firmware`).
"""

import re
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tesla_codegen.kernels.variant import Optimize
from tesla_embed import __version__
from tesla_embed.atomic import write_bytes
from tesla_embed.errors import CodegenError, ConfigError, ToolchainError
from tesla_host import board, boot2
from tesla_host.apps import LINK, App
from tesla_host.compilers import Compiler, find_compiler
from tesla_host.elf import read_image
from tesla_host.stack_bound import read_frames
from tesla_host.targets import Target, find_target
from tesla_host.toolchain import Unit, build_elf

FIRMWARE = "firmware.elf"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wmissing-prototypes")
_COMMON = (
    "-std=c99",
    *WARNINGS,
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fomit-frame-pointer",
)
_ZIG = ("-fno-sanitize=undefined", "-fno-stack-protector", "-g1")
"""zig's own defaults are a debugger's, and without -g it leaves no function names in the ELF."""
_AROUND_ASSEMBLY = (
    "tesla_clamp",
    "tesla_conv2d_dsp",
    "tesla_conv2d_1x1_dsp",
    "tesla_conv2d_3x3_dsp",
    "tesla_conv2d_flat_dsp",
    "tesla_fully_connected_dsp",
    "tesla_mean_dsp",
    "tesla_pair",
    "tesla_unpack",
)
"""Kernels whose C executes few of their instructions: -O3 would cost kilobytes for a thousandth."""
_OVERFLOW = re.compile(r"region [`'](\w+)'[^\n]*?overflowed by (\d+) bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The objects of a project's own sources, and what linking them takes."""

    compiler: Compiler
    objects: tuple[Path, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """A firmware and its size: flash = text + rodata + data, RAM = data + bss without the stack.

    `frames` are the bytes of stack that each of its functions takes for itself, by name; empty on
    the host. `library` is what of it was generated (see `footprint`), `None` on the host.
    """

    elf: Path
    compiler: str
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    sections: dict[str, int]
    frames: dict[str, int] = field(default_factory=dict)
    library: Library | None = None


def build_firmware(
    project: Path,
    target: str | Target,
    out: Path,
    *,
    toolchain: str | None = None,
    app: App = LINK,
    optimize: Optimize = Optimize.BALANCED,
    extra_flags: tuple[str, ...] = (),
) -> BuildResult:
    """Compile and link `project` with the application `app` and the target's board.

    The library's kernels are compiled with -O3, or -Os where `optimize` saves flash, and without
    `speed` also around assembly; all the rest with -Os. On the host, the library with -O3 for this
    very processor, the rest with -O2.
    `toolchain` is one of the target's, by default its first. `extra_flags` go to every compilation
    and to the link (for instance -Werror).
    """
    row = find_target(target) if isinstance(target, str) else target
    kind = choose_toolchain(row, toolchain)
    library, model = _generated(project)
    compiler = compiler_for(row, kind)
    static = out / "static"
    sources = _copy_static(row, app, static)
    saving = row.core is not None and optimize is Optimize.SIZE
    common = (*machine_flags(row, kind), f'-DTESLA_FIRMWARE_VERSION="{__version__}"')
    common += tuple(f"-ffile-prefix-map={path.absolute()}=." for path in (out, project))
    small, units = _library_units(
        row, compiler, library, project / "src", (*common, *extra_flags), optimize
    )
    small_flags = (small, *common, *extra_flags, *(f"-D{macro}" for macro in app.macros))
    units += [Unit(source=path, flags=small_flags) for path in (*sources, model)]
    units += [_own_unit(path, small_flags) for path in row.files]
    elf = out / FIRMWARE
    try:
        made = build_elf(
            compiler,
            units,
            [*link_flags(row, kind, static, saving=saving), *extra_flags],
            _include(project, static, app),
            out / "objects",
            elf,
            frames=row.core is not None,
        )
    except (ToolchainError, ConfigError) as error:
        raise _does_not_fit(row, str(error)) or error from error
    boot2.seal(elf)
    generated = _library(row, kind, made[: len(library)], saving=saving)
    return _result(elf, compiler, made, generated)


def _include(project: Path, static: Path, app: App) -> list[Path]:
    """The folders of headers, as far as they are there; `static` is what `_copy_static` wrote."""
    names = ("include", "board", *app.folders, "target")
    folders = (project / "include", *(static / name for name in names))
    return [path for path in folders if path.is_dir()]


def _result(
    elf: Path, compiler: Compiler, objects: list[Path], library: Library | None
) -> BuildResult:
    """What a linked firmware needs, and the frames that lie beside its objects."""
    image = read_image(elf)
    return BuildResult(
        elf=elf,
        compiler=compiler.version,
        flash_bytes=image.flash_bytes,
        ram_bytes=image.ram_bytes,
        stack_bytes=image.stack_bytes,
        sections=image.sections,
        frames=read_frames(su for path in objects if (su := path.with_suffix(".su")).is_file()),
        library=library,
    )


def _library_units(
    row: Target,
    compiler: Compiler,
    library: list[Path],
    calls_in: Path,
    common: tuple[str, ...],
    optimize: Optimize,
) -> tuple[str, list[Unit]]:
    """The level for code that takes no time, and the library's sources, each with its own level.

    What lies in the folder `calls_in` itself runs between kernels, where nothing takes time.
    """
    small = "-Os" if row.core else "-O2"
    saving = row.core is not None and optimize is Optimize.SIZE
    fast = (small if saving else "-O3", *(() if row.core else compiler.native))
    calls = (small, *fast[1:]) if row.core else fast
    around = fast if optimize is Optimize.SPEED or not row.core else (small,)

    def level(path: Path) -> tuple[str, ...]:
        if path.parent == calls_in:
            return calls
        return around if path.stem.startswith(_AROUND_ASSEMBLY) else fast

    return small, [Unit(source=path, flags=(*level(path), *common)) for path in library]


def _generated(project: Path) -> tuple[list[Path], Path]:
    """The sources of a project's library, and that of what the application knows of it."""
    model = project / "firmware" / "app_model.c"
    library = sorted(path for path in (project / "src").rglob("*") if path.suffix in (".c", ".S"))
    if not model.is_file() or not library:
        raise ConfigError(
            f"{project} is no generated project: firmware/app_model.c or src/ is missing"
        )
    return library, model


def _library(
    target: Target, toolchain: str, objects: list[Path], *, saving: bool
) -> Library | None:
    if target.core is None:
        return None
    return Library(
        compiler=compiler_for(target, toolchain),
        objects=tuple(objects),
        flags=_bare(target, toolchain, saving=saving),
    )


def _bare(target: Target, toolchain: str, *, saving: bool) -> tuple[str, ...]:
    """Flags of a link without the compiler's own start-up code. They also choose which memset and
    memcpy zig links: with -Os, loops over bytes."""
    return (*board.link_flags(target, toolchain), "-g1", "-Os" if saving else "-O2")


def compiler_for(target: Target, toolchain: str | None = None) -> Compiler:
    """A target's compiler, by default its usual one. Raises `ToolchainError` if it is missing."""
    kind = toolchain or target.compiler
    if target.core is None:
        return find_compiler(kind)
    return find_compiler(kind, target.core.architecture)


def choose_toolchain(target: Target, wanted: str | None) -> str:
    """`wanted`, or the target's usual toolchain. Raises `ConfigError` for one it does not have."""
    if wanted is None:
        return target.compiler
    if wanted not in target.toolchains:
        raise ConfigError(
            f"{target.name} is not built with {wanted!r}; use {' or '.join(target.toolchains)}"
        )
    return wanted


def machine_flags(target: Target, toolchain: str) -> tuple[str, ...]:
    """What every source for a target is compiled with, whatever its optimisation."""
    zig = _ZIG if compiler_for(target, toolchain).name == "zig" else ()
    return (*_COMMON, *zig, *board.machine_flags(target, toolchain))


def link_flags(
    target: Target, toolchain: str, static: Path, *, saving: bool = False
) -> tuple[str, ...]:
    """What links a firmware; `static` is the folder of a build with the target's linker script."""
    if target.core is None:
        return ("-g1",) if compiler_for(target, toolchain).name == "zig" else ()
    return (
        *_bare(target, toolchain, saving=saving),
        "-Wl,--gc-sections",
        f"-Wl,-T,{static / 'target' / board.LINKER_SCRIPT}",
        "-Wl,--entry=Reset_Handler",
    )


def _own_unit(source: Path, flags: tuple[str, ...]) -> Unit:
    """A file of a user's own board, compiled where it lies."""
    own = f"-ffile-prefix-map={source.parent}=board"
    return Unit(source=source, flags=(*flags, own), own=True)


def _copy_static(target: Target, app: App, folder: Path) -> list[Path]:
    """Lay the package's application and board beside the objects; returns the sources.

    What follows from the target's row goes into the folder `target`.
    """
    package = files("tesla_firmware")
    copied: list[Path] = []
    parts = ("stack", *target.sources) if target.core else target.sources
    for name in ("include", *app.folders, "board", *(f"boards/{part}" for part in parts)):
        copied += _copy(package.joinpath(name), folder / name)
    _write(folder / "target" / board.HEADER, board.header(target).encode())
    for path in copied:
        if path.name == board.SECTIONS:
            script = board.memory_map(target).encode() + path.read_bytes()
            _write(folder / "target" / board.LINKER_SCRIPT, script)
    replaced = {folder / name for name in app.without}
    return sorted(path for path in copied if path.suffix in (".c", ".S") and path not in replaced)


def _copy(source: Traversable, target: Path) -> list[Path]:
    """Copy a file or folder of the package; returns the files, changed or not."""
    if source.is_dir():
        return [path for entry in source.iterdir() for path in _copy(entry, target / entry.name)]
    _write(target, source.read_bytes())
    return [target]


def _write(target: Path, content: bytes) -> None:
    if not target.is_file() or target.read_bytes() != content:
        write_bytes(target, content)


def _does_not_fit(target: Target, message: str) -> CodegenError | None:
    overflows = {region: int(count) for region, count in _OVERFLOW.findall(message)}
    if not overflows:
        return None
    missing = " and ".join(f"{count:,} bytes of {name}" for name, count in overflows.items())
    return CodegenError(
        f"the firmware does not fit {target.name}: {missing} too many; choose a larger target or "
        "a smaller network"
    )
