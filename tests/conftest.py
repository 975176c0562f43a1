"""What all tests share: asking for a tool, and firmware around a model that is easy to predict."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tesla_embed.errors import ToolchainError
from tesla_host.build import BuildResult, build_firmware, compiler_for
from tesla_host.link.qemu import find_qemu
from tesla_host.targets import find_target

T = TypeVar("T")

# A shell starts what it puts in the background deaf to Ctrl-C, and children inherit that: here
# commands are interrupted on purpose.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As many workers as processors: were each to start a thread for every processor, as PyTorch does,
# most of the time would go into waiting for each other. Commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

FAKE_MODEL = Path(__file__).parent / "exact" / "fake_model"


def require(find: Callable[[], T]) -> T:
    """The tool that `find` returns; without it the test is skipped, or fails where CI is set.

    `find` raises `ToolchainError` or `ImportError` when the tool is missing.
    """
    try:
        return find()
    except (ToolchainError, ImportError) as error:
        if os.environ.get("CI"):
            pytest.fail(f"in CI every tool must be there: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def require_tool() -> Callable[[Callable[[], T]], T]:
    """The function `require`."""
    return require


def tools_of(target: str, toolchain: str | None = None) -> None:
    """What building for a target and running there needs; raises `ToolchainError` without it."""
    row = find_target(target)
    compiler_for(row, toolchain)
    if row.qemu is not None:
        find_qemu(row.qemu.program)


@pytest.fixture(scope="session")
def fake_firmware(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], BuildResult]:
    """Builds the fake model for a target, with warnings as errors; once per test session."""
    built: dict[str, BuildResult] = {}

    def build(target: str) -> BuildResult:
        if target not in built:
            require(lambda: tools_of(target))
            out = tmp_path_factory.mktemp(target.replace(":", "-"))
            built[target] = build_firmware(FAKE_MODEL, target, out, extra_flags=("-Werror",))
        return built[target]

    return build
