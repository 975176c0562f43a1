"""Turn sources into an ELF with a compiler that `tesla_host.compilers` found.

In: a compiler, translation units, flags. Out: a linked ELF. Refuses with `ToolchainError` what does
not compile or link (the message holds the first errors).

Objects are kept in the build folder under a hash of the compiler, the flags, the source and all
headers, so that building again compiles only what changed. What a user's source includes, from
wherever, only the preprocessor knows: its output is hashed.
"""

import contextlib
import hashlib
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tesla_embed.atomic import replacing
from tesla_embed.errors import ConfigError, ToolchainError
from tesla_host.compilers import Compiler

_JOBS = 2
_ERROR_LINES = 6
_TIMEOUT_S = 600
_READS = re.compile(rb"\.(?:incbin|include)\b")
"""The assembler's own ways to read a file, which the preprocessor leaves to it: such a source is
compiled every time, with a macro that is new to the cache that zig keeps itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One source file (.c or .S) and the flags it is compiled with.

    One that is a user's `own` may include more than the headers in the folders of `build_elf`, and
    its mistakes are input, not a failing toolchain.
    """

    source: Path
    flags: tuple[str, ...]
    own: bool = False


class Rejected(ToolchainError):
    """The compiler or linker did its work, and found errors in what it was given."""


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
    stack of its functions. Raises `ToolchainError` with the compiler's first errors, `ConfigError`
    where it rejects what the user wrote: such a unit, or a link that has one.
    """
    objects.mkdir(parents=True, exist_ok=True)
    flags = tuple(f"-I{folder}" for folder in include)
    context = hashlib.sha256(repr((compiler, flags, platform.machine())).encode())
    for header in sorted(path for folder in include for path in folder.rglob("*.h")):
        context.update(header.read_bytes())

    def compile_unit(unit: Unit) -> Path:
        key = context.copy()
        key.update(repr(unit).encode())
        key.update(unit.source.read_bytes())
        again: tuple[str, ...] = ()
        if unit.own:
            with _blaming(own=True):
                text = _preprocessed(compiler, unit, flags, objects)
            key.update(text)
            if _READS.search(text):
                again = (f"-DTESLA_COMPILED_AT={time.time_ns()}",)
        target = objects / f"{unit.source.stem}-{key.hexdigest()[:24]}.o"
        if again or not target.exists() or (frames and _told(unit) and not _su(target).exists()):
            with _blaming(own=unit.own):
                _compile(compiler, unit, (*flags, *again), target, frames)
        return target

    with ThreadPoolExecutor(_JOBS) as pool:
        compiled = list(pool.map(compile_unit, units))
    with replacing(elf) as temporary, _blaming(own=any(unit.own for unit in units)):
        link_elf(compiler, compiled, link_flags, temporary)
    return compiled


@contextlib.contextmanager
def _blaming(*, own: bool) -> Iterator[None]:
    """Turn what the compiler rejects into bad input, where that is the user's own."""
    try:
        yield
    except Rejected as error:
        if own:
            raise ConfigError(str(error)) from error
        raise


def link_elf(compiler: Compiler, objects: Sequence[Path], flags: Sequence[str], elf: Path) -> None:
    """Link `objects` to `elf`. Raises `ToolchainError` with the linker's first errors."""
    arguments = [*map(str, objects), *flags, "-o", str(elf)]
    _call(compiler, compiler.linker or compiler.command, arguments)


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
        arguments = ["-c", str(unit.source), *unit.flags, *flags, *wanted, "-o", str(made)]
        _call(compiler, compiler.command, arguments)
        if _su(made).exists():
            _su(made).replace(_su(target))
        elif wanted:
            _su(target).touch()  # a source without functions
        made.replace(target)


def _preprocessed(compiler: Compiler, unit: Unit, flags: Sequence[str], objects: Path) -> bytes:
    """A source with all that it includes; `-w`, since what is to be said, compiling says."""
    with tempfile.TemporaryDirectory(dir=objects, prefix=".") as folder:
        made = Path(folder) / "unit.i"
        arguments = ["-E", str(unit.source), *unit.flags, *flags, "-w", "-o", str(made)]
        _call(compiler, compiler.command, arguments)
        return made.read_bytes()


def _told(unit: Unit) -> bool:
    """Whether compilers know of frames: not of assembly's."""
    return unit.source.suffix == ".c"


def _su(target: Path) -> Path:
    return target.with_suffix(".su")


def _call(compiler: Compiler, command: Sequence[str], arguments: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            [*command, *arguments],
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
        raise Rejected(f"{compiler.version} failed: {_errors(done.stderr)}")


def _errors(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    words = ("error", "undefined", "multiple definition", "overflowed")
    telling = [line for line in lines if any(word in line for word in words)] or lines
    return " | ".join(line.strip() for line in telling[:_ERROR_LINES]) or "(no message)"
