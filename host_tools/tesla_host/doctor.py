"""What is installed, what is missing, and the command that mends it.

In: nothing but this computer. Out: findings: Python and its packages, compilers, emulators,
programmers. Raises nothing for what is missing, or does not tell its version. What is plugged in,
`attached` finds.
"""

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import msgspec

from tesla_embed.errors import ToolchainError
from tesla_host.compilers import ARM, GNU, RISCV, find_compiler, first_line, how_to_install

_ANSWER_S = 20
"""Seconds that a program may take to tell its version; some first unpack themselves."""
_VERSION = re.compile(r"\d+\.\d+\S*")


class Section(StrEnum):
    """What kind of thing a finding is about."""

    PYTHON = "Python"
    COMPILER = "compilers"
    EMULATOR = "emulators"
    PROGRAMMER = "programmers"


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """One thing that some command needs. `version` is `None` where it is missing.

    What is `optional` serves targets that nobody has to use.
    """

    section: Section
    name: str
    purpose: str
    version: str | None
    mend: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class _Package:
    module: str
    distribution: str
    extra: str
    purpose: str


_PACKAGES = (
    _Package("torch", "torch", "train", "train, evaluate, quantize"),
    _Package("sklearn", "scikit-learn", "train", "the digits data set"),
    _Package("ziglang", "ziglang", "zig", "compile for emulator and host"),
    _Package("unicorn", "unicorn", "emulator", "the emulated Cortex-M4"),
    _Package("capstone", "capstone", "emulator", "instruction counts and cycle estimates"),
    _Package("ai_edge_litert", "ai-edge-litert", "oracle", "LiteRT, the judge of verify"),
    _Package("flatbuffers", "flatbuffers", "oracle", "writing .tflite for the judge"),
    _Package("matplotlib", "matplotlib", "report", "figures of report"),
)


_COMPILERS = (
    (GNU[ARM], "--toolchain gcc"),
    ("clang", "--toolchain clang"),
    (GNU[RISCV], "--toolchain gcc of RISC-V"),
)
"""Compilers that `compilers` knows how to install, by their names on PATH, and their purpose."""


def examine() -> list[Finding]:
    """Look at everything that is installed."""
    return [_python(), *_packages(), *_compilers(), *_emulators(), *_programmers()]


def _python() -> Finding:
    return Finding(
        section=Section.PYTHON,
        name="Python",
        purpose="everything",
        version=platform.python_version(),
        mend="",
    )


def _packages() -> Iterator[Finding]:
    for package in _PACKAGES:
        yield Finding(
            section=Section.PYTHON,
            name=package.distribution,
            purpose=package.purpose,
            version=_installed(package),
            mend=f"pip install 'tesla-embed[{package.extra}]'",
        )


def _installed(package: _Package) -> str | None:
    """The version of a package, or where its module is if it was not installed by that name."""
    spec = importlib.util.find_spec(package.module)
    if spec is None:
        return None
    try:
        return importlib.metadata.version(package.distribution)
    except importlib.metadata.PackageNotFoundError:
        places = spec.submodule_search_locations or [spec.origin or "an unknown place"]
        return f"found at {next(iter(places))}"


def _compilers() -> Iterator[Finding]:
    host = _tool("C compiler", "the host target", lambda: find_compiler("host").version)
    yield _finding(Section.COMPILER, host, optional=False)
    for program, purpose in _COMPILERS:

        def version(program: str = program) -> str:
            path = shutil.which(program)
            if path is None:
                raise ToolchainError(how_to_install(program))
            return first_line((path, "--version"))

        yield _finding(Section.COMPILER, _tool(program, purpose, version), optional=True)


def _emulators() -> Iterator[Finding]:
    """The programs of QEMU, and whether they know the boards of the catalogue."""
    from tesla_host.catalogue import TARGETS
    from tesla_host.link.qemu import find_qemu, qemu_version

    rows = [(row.name, row.qemu) for row in TARGETS if row.qemu is not None]
    for program in dict.fromkeys(qemu.program for _, qemu in rows):
        version = partial(qemu_version, program)
        found = _tool(program, "targets qemu:...", version)
        yield _finding(Section.EMULATOR, found, optional=True)
        if found[2] is None:
            continue
        listed = _said((find_qemu(program), "-machine", "help")).splitlines()
        known = {line.split()[0] for line in listed if line.strip()}
        for name, qemu in rows:
            if qemu.program == program:
                there = qemu.machine if qemu.machine in known else None
                machine = (f"-M {qemu.machine}", f"target {name}", there, "install a newer QEMU")
                yield _finding(Section.EMULATOR, machine, optional=True)


def _programmers() -> Iterator[Finding]:
    """Programs that flash, as `flash` finds them on PATH."""
    from tesla_host.flash.commands import find_tool
    from tesla_host.flash.programmers import PROGRAMMERS

    for row in PROGRAMMERS:
        path = find_tool(row)
        if path == "":
            continue
        version = None if path is None else _version(path, row.version)
        found = (row.name, f"flash --programmer {row.name}", version, row.install)
        yield _finding(Section.PROGRAMMER, found, optional=True)


_Told = tuple[str, str, str | None, str]
"""Name, purpose, version, and how to mend it where that is `None`."""


def _finding(section: Section, told: _Told, *, optional: bool) -> Finding:
    name, purpose, version, mend = told
    return Finding(
        section=section,
        name=name,
        purpose=purpose,
        version=version,
        mend="" if version else mend,
        optional=optional,
    )


def _tool(name: str, purpose: str, version: Callable[[], str]) -> _Told:
    try:
        return name, purpose, version(), ""
    except ToolchainError as error:
        return name, purpose, None, str(error)


def _version(path: str, arguments: tuple[str, ...]) -> str:
    """The first words of a program that look like a version, or where the program is."""
    if arguments:
        for line in _said((path, *arguments)).splitlines():
            if _VERSION.search(line):
                return line.strip()
    return f"found at {path}"


def _said(command: tuple[str, ...]) -> str:
    """All that a program says; nothing where it does not start or end."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
