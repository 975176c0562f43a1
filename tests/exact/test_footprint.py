"""What the library alone takes of flash and RAM."""

from pathlib import Path

import pytest
from conftest import require
from graphs import every_operation

from tesla_codegen.kernels.variant import Isa
from tesla_codegen.project import generate
from tesla_embed.errors import ToolchainError
from tesla_host.build import build_firmware
from tesla_host.compilers import find_compiler
from tesla_host.footprint import footprint
from tesla_host.targets import find_target


@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
def test_the_library_is_a_part_of_the_firmware(tmp_path: Path, toolchain: str) -> None:
    require(lambda: find_compiler(toolchain))
    target = find_target("emulator")
    project = generate(every_operation(), tmp_path / "project", isa=target.isa)
    built = build_firmware(tmp_path / "project", target, tmp_path, toolchain=toolchain)
    found = footprint(built, project)
    assert found.weights == project.weights_bytes
    layers = 24 * len(project.layers)  # the largest has 24 bytes
    between = found.tables - project.region_table_bytes
    assert 0 < between < layers + 512  # constants that compilers make, and gaps
    assert found.static == 0
    assert found.arena == project.arena_bytes
    application = built.flash_bytes - found.flash
    assert 2048 < application < 7168  # the link and the board: see test_build
    assert found.code < built.sections[".text"]


def test_a_process_has_none(tmp_path: Path) -> None:
    require(lambda: find_compiler("host"))
    project = generate(every_operation(), tmp_path / "project", isa=Isa.PORTABLE)
    built = build_firmware(tmp_path / "project", "host", tmp_path)
    with pytest.raises(ToolchainError, match="no microcontroller"):
        footprint(built, project)
