"""C compilers: find one and name it.

In: a kind of compiler, and the architecture that it is to make code for. Out: a `Compiler`. Refuses
a missing one with a `ToolchainError` whose message is the command that installs it.

| kind | what it is |
|---|---|
| `zig` | Clang and LLD with their library, from PyPI |
| `gcc` | the GNU toolchain of the architecture, which compiles and links |
| `clang` | Clang compiles, and the architecture's GNU toolchain links with its libraries |
| `host` | this machine's own compiler |
"""

import dataclasses
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tesla_embed.errors import ToolchainError


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A C compiler that can also link: `command` begins every call.

    `linker` begins the call that links, where another program does. `native` are the flags that
    make code for this very processor, none where it does not know them; `processor` then says what
    that is, so that objects are not reused on another one.
    """

    name: str
    command: tuple[str, ...]
    version: str
    environment: tuple[tuple[str, str], ...] = ()
    native: tuple[str, ...] = ()
    processor: str = ""
    linker: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What `find_compiler` can be asked for, and the command that installs it."""

    kind: str
    architecture: str
    name: str
    install: str


ARM = "arm"
RISCV = "riscv"
GNU = {ARM: "arm-none-eabi-gcc", RISCV: "riscv64-unknown-elf-gcc"}
"""By architecture, the compiler of the GNU toolchain."""

_ZIG = "pip install 'tesla-embed[zig]'"
_PACKAGES = {  # of apt, and of brew
    GNU[ARM]: ("gcc-arm-none-eabi libnewlib-arm-none-eabi", "arm-none-eabi-gcc"),
    GNU[RISCV]: ("gcc-riscv64-unknown-elf", "riscv64-elf-gcc"),
    "clang": ("clang", "llvm"),
}


def how_to_install(*programs: str) -> str:
    """The command that installs compilers, by the names of their programs on PATH."""
    apt, brew = zip(*(_PACKAGES[program] for program in programs), strict=True)
    return f"apt install {' '.join(apt)}, or: brew install {' '.join(brew)}"


def _toolchains(architecture: str) -> tuple[Toolchain, ...]:
    gnu = GNU[architecture]
    rows = (
        ("zig", "zig", _ZIG),
        ("gcc", gnu, how_to_install(gnu)),
        ("clang", f"clang and {gnu}", how_to_install("clang", gnu)),
    )
    return tuple(
        Toolchain(kind=kind, architecture=architecture, name=name, install=install)
        for kind, name, install in rows
    )


TOOLCHAINS = (*_toolchains(ARM), *_toolchains(RISCV))
"""Every toolchain for microcontrollers; `host` is no such one."""


@cache
def find_compiler(kind: str, architecture: str = ARM) -> Compiler:
    """The compiler of a kind for an architecture, which `zig` and `host` do not need to know.

    Raises `ToolchainError` when it is missing.
    """
    if kind == "host":
        return _for_this_processor(_find_host())
    if kind == "zig":
        return _find_zig()
    return {"gcc": _find_gcc, "clang": _find_clang}[kind](architecture)


def install_hint(kind: str, architecture: str = ARM) -> str:
    """The command that installs a toolchain for microcontrollers."""
    return next(
        known.install
        for known in TOOLCHAINS
        if (known.kind, known.architecture) == (kind, architecture)
    )


def _find_zig() -> Compiler:
    if find_spec("ziglang") is None:
        raise ToolchainError(f"no compiler for microcontrollers: {_ZIG}")
    command = (sys.executable, "-m", "ziglang")
    environment = (("ZIG_GLOBAL_CACHE_DIR", str(_cache_folder() / "zig")),)
    version = first_line((*command, "version"), dict(environment))
    return Compiler(
        name="zig",
        command=(*command, "cc"),
        version=f"zig {version}",
        environment=environment,
    )


def _find_gcc(architecture: str) -> Compiler:
    name = GNU[architecture]
    path = shutil.which(name)
    if path is None:
        raise ToolchainError(
            f"no {name}: {install_hint('gcc', architecture)}, or unpack a GNU toolchain for it and "
            "put its bin/ on PATH"
        )
    return Compiler(name=name, command=(path,), version=first_line((path, "--version")))


def _find_clang(architecture: str) -> Compiler:
    path = shutil.which("clang")
    if path is None:
        raise ToolchainError(f"no clang: {install_hint('clang', architecture)}")
    try:
        gnu = _find_gcc(architecture)
    except ToolchainError as error:
        raise ToolchainError(f"clang needs {GNU[architecture]} to link: {error}") from error
    version = f"{first_line((path, '--version'))}, linked by {gnu.version}"
    return Compiler(name="clang", command=(path,), version=version, linker=gnu.command)


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
    raise ToolchainError(f"no C compiler for this machine: install gcc or clang, or {_ZIG}")


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
