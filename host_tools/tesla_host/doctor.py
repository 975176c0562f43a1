"""What is installed, what is missing, and the command that mends it."""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tesla_embed.errors import ToolchainError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that some command needs. `version` is `None` where it is missing.

    What is `optional` serves targets that nobody has to use.
    """

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


def examine() -> list[Finding]:
    """Look at everything; never raises for what is missing."""
    return [_python(), *_packages(), _host_compiler(), _arm_gcc(), _qemu()]


def _python() -> Finding:
    return Finding(name="Python", purpose="everything", version=platform.python_version(), mend="")


def _packages() -> Iterator[Finding]:
    for package in _PACKAGES:
        present = importlib.util.find_spec(package.module) is not None
        version = importlib.metadata.version(package.distribution) if present else None
        yield Finding(
            name=package.distribution,
            purpose=package.purpose,
            version=version,
            mend=f"pip install 'tesla-embed[{package.extra}]'",
        )


def _host_compiler() -> Finding:
    from tesla_host.toolchain import find_compiler

    return _tool("C compiler", "the host target", lambda: find_compiler("host").version)


def _arm_gcc() -> Finding:
    from tesla_host.toolchain import find_compiler

    found = _tool("Arm GNU toolchain", "--toolchain gcc", lambda: find_compiler("gcc").version)
    return replace(found, optional=True)


def _qemu() -> Finding:
    from tesla_host.link.qemu import qemu_version

    return replace(_tool("QEMU", "targets qemu:...", qemu_version), optional=True)


def _tool(name: str, purpose: str, version: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, purpose=purpose, version=version(), mend="")
    except ToolchainError as error:
        return Finding(name=name, purpose=purpose, version=None, mend=str(error))
