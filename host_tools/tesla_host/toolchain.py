"""C compilers: find one, name it, turn sources into an ELF.

In: which kind of compiler (`zig` and `gcc` for bare metal, `host` for this machine) and translation
units.
Out: a linked ELF. Refuses with `ToolchainError`: a missing compiler (the message is the
install command) and a failing one (its first errors).

Objects are kept in the build folder under a hash of the compiler, the flags, the source and all
headers, so that building again compiles only what changed.
"""

import dataclasses
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tesla_embed.atomic import replacing
from tesla_embed.errors import ToolchainError

_JOBS = 2
_ERROR_LINES = 6
_TIMEOUT_S = 600
_GCC = "arm-none-eabi-gcc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A C compiler that can also link: `command` begins every call.

    `native` are the flags that make code for this very processor, none where it does not know them;
    `processor` then says what that is, so that objects are not reused on another one.
    """

    name: str
    command: tuple[str, ...]
    version: str
    environment: tuple[tuple[str, str], ...] = ()
    native: tuple[str, ...] = ()
    processor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One source file (.c or .S) and the flags it is compiled with."""

    source: Path
    flags: tuple[str, ...]


@cache
def find_compiler(kind: str) -> Compiler:
    """The compiler of a kind: "zig", "gcc" (of Arm's GNU toolchain) or "host".

    Raises `ToolchainError` when it is missing.
    """
    if kind == "host":
        return _for_this_processor(_find_host())
    return {"zig": _find_zig, "gcc": _find_gcc}[kind]()


def _find_zig() -> Compiler:
    if find_spec("ziglang") is None:
        raise ToolchainError("no compiler for microcontrollers: pip install 'tesla-embed[zig]'")
    command = (sys.executable, "-m", "ziglang")
    environment = (("ZIG_GLOBAL_CACHE_DIR", str(_cache_folder() / "zig")),)
    version = first_line((*command, "version"), dict(environment))
    return Compiler(
        name="zig",
        command=(*command, "cc"),
        version=f"zig {version}",
        environment=environment,
    )


def _find_gcc() -> Compiler:
    path = shutil.which(_GCC)
    if path is None:
        raise ToolchainError(
            f"no {_GCC}: apt install gcc-arm-none-eabi libnewlib-arm-none-eabi, or unpack Arm's "
            "GNU toolchain and put its bin/ on PATH"
        )
    return Compiler(name=_GCC, command=(path,), version=first_line((path, "--version")))


def _find_host() -> Compiler:
    chosen = os.environ.get("CC")
    for name in (chosen,) if chosen else ("cc", "gcc", "clang"):
        program, *flags = shlex.split(name) or [""]
        path = shutil.which(program)
        if path is not None:
            command = (path, *flags)
            return Compiler(name=name, command=command, version=first_line((*command, "--version")))
    if chosen:
        raise ToolchainError(f"CC names {chosen}, which does not exist; unset CC or correct it")
    if find_spec("ziglang") is not None:
        return _find_zig()
    raise ToolchainError(
        "no C compiler for this machine: install gcc or clang, or pip install 'tesla-embed[zig]'"
    )


def _for_this_processor(compiler: Compiler) -> Compiler:
    """The same with the flags of its native code, if it accepts them.

    What the compiler knows of the processor are the macros that it then defines.
    """
    environment = {**os.environ, **dict(compiler.environment)}
    for flags in (("-march=native",), ("-mcpu=native",)):
        command = [*compiler.command, *flags, "-dM", "-E", "-x", "c", os.devnull]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
        except OSError:
            return compiler  # what is wrong with it shows when it is asked to compile
        if done.returncode == 0 and b"#define" in done.stdout:
            known = b"\n".join(sorted(done.stdout.splitlines()))
            digest = hashlib.sha256(known).hexdigest()
            return dataclasses.replace(compiler, native=flags, processor=digest)
    return compiler


def build_elf(
    compiler: Compiler,
    units: Sequence[Unit],
    link_flags: Sequence[str],
    include: Sequence[Path],
    objects: Path,
    elf: Path,
    *,
    frames: bool = False,
) -> list[Path]:
    """Compile `units` into the folder `objects` and link them to `elf` (written in one step).

    Returns the objects. With `frames`, each made of C has a file `.su` beside it that tells the
    stack of its functions. Raises `ToolchainError` with the compiler's first errors.
    """
    objects.mkdir(parents=True, exist_ok=True)
    flags = tuple(f"-I{folder}" for folder in include)
    context = hashlib.sha256(repr((compiler, flags, platform.machine())).encode())
    for header in sorted(path for folder in include for path in folder.rglob("*.h")):
        context.update(header.read_bytes())

    def compile_unit(unit: Unit) -> Path:
        key = context.copy()
        key.update(repr(unit).encode() + unit.source.read_bytes())
        target = objects / f"{unit.source.stem}-{key.hexdigest()[:24]}.o"
        if not target.exists() or (frames and _told(unit) and not _su(target).exists()):
            _compile(compiler, unit, flags, target, frames)
        return target

    with ThreadPoolExecutor(_JOBS) as pool:
        compiled = list(pool.map(compile_unit, units))
    with replacing(elf) as temporary:
        link_elf(compiler, compiled, link_flags, temporary)
    return compiled


def link_elf(compiler: Compiler, objects: Sequence[Path], flags: Sequence[str], elf: Path) -> None:
    """Link `objects` to `elf`. Raises `ToolchainError` with the linker's first errors."""
    _call(compiler, [*map(str, objects), *flags, "-o", str(elf)])


def _compile(
    compiler: Compiler, unit: Unit, flags: Sequence[str], target: Path, frames: bool
) -> None:
    """One object, and what its frames are; the object comes last, so that both are there."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        made = Path(folder) / "unit.o"
        wanted: tuple[str, ...] = ()
        if frames and _told(unit):
            # zig leaves the file of -fstack-usage among its temporary ones
            named = ("-Xclang", "-stack-usage-file", "-Xclang", str(_su(made)))
            wanted = named if compiler.name == "zig" else ("-fstack-usage",)
        _call(compiler, ["-c", str(unit.source), *unit.flags, *flags, *wanted, "-o", str(made)])
        if _su(made).exists():
            _su(made).replace(_su(target))
        elif wanted:
            _su(target).touch()  # a source without functions
        made.replace(target)


def _told(unit: Unit) -> bool:
    """Whether compilers know of frames: not of assembly's."""
    return unit.source.suffix == ".c"


def _su(target: Path) -> Path:
    return target.with_suffix(".su")


def _call(compiler: Compiler, arguments: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            [*compiler.command, *arguments],
            env={**os.environ, **dict(compiler.environment)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{compiler.name} did not finish: {error}; run it again") from error
    if done.returncode != 0:
        raise ToolchainError(f"{compiler.version} failed: {_errors(done.stderr)}")


def _errors(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    words = ("error", "undefined", "multiple definition", "overflowed")
    telling = [line for line in lines if any(word in line for word in words)] or lines
    return " | ".join(line.strip() for line in telling[:_ERROR_LINES]) or "(no message)"


def first_line(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """What a program says first. Raises `ToolchainError` when it does not start, or fails."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolchainError(f"{command[0]} does not start: {error}; install it again") from error
    return (done.stdout.splitlines() or ["?"])[0].strip()


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tesla-embed"
