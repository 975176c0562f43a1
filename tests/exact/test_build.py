"""Building: sizes, refusals, nothing half-written, nothing compiled twice."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tesla_embed.errors import CodegenError, ConfigError, ToolchainError
from tesla_host.build import BuildResult, build_firmware
from tesla_host.compilers import find_compiler
from tesla_host.elf import read_image
from tesla_host.targets import find_target

FAKE_MODEL = Path(__file__).parent / "fake_model"
Build = Callable[[str], BuildResult]
LINK_AND_BOARD_FLASH_LIMIT = 6 * 1024


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FAKE_MODEL, tmp_path / "project"))


@pytest.fixture(params=["host", "emulator"])
def target(request: pytest.FixtureRequest, require_tool: Callable[..., object]) -> str:
    name: str = request.param
    require_tool(lambda: find_compiler(find_target(name).compiler))
    return name


def test_sizes_are_those_of_the_sections(fake_firmware: Build) -> None:
    result = fake_firmware("emulator")
    sections = result.sections
    assert result.flash_bytes == sections[".text"] + sections[".rodata"] + sections[".data"]
    assert result.ram_bytes == sections[".data"] + sections[".bss"]
    assert result.stack_bytes == 8192
    assert result.compiler.startswith("zig 0.")


def test_application_and_board_stay_small(fake_firmware: Build) -> None:
    assert fake_firmware("emulator").flash_bytes < LINK_AND_BOARD_FLASH_LIMIT


def test_functions_are_found_by_address(fake_firmware: Build) -> None:
    symbols = read_image(fake_firmware("emulator").elf).symbols
    start = symbols.starts[symbols.names.index("tesla_link_receive")]
    assert symbols.function_at(start) == "tesla_link_receive"
    assert symbols.function_at(start + 10) == "tesla_link_receive"
    assert symbols.function_at(0xFFFF_0000) == "?"


def test_building_again_changes_and_costs_little(
    project: Path, tmp_path: Path, target: str
) -> None:
    out = tmp_path / "out"
    first = build_firmware(project, target, out)
    image = first.elf.read_bytes()
    objects = {path: path.stat().st_mtime_ns for path in (out / "objects").iterdir()}
    start = time.monotonic()
    again = build_firmware(project, target, out)
    assert time.monotonic() - start < 5
    assert again == first and first.elf.read_bytes() == image
    assert {path: path.stat().st_mtime_ns for path in (out / "objects").iterdir()} == objects
    assert not list(out.rglob("*.part"))


def test_a_changed_header_is_noticed(project: Path, tmp_path: Path, target: str) -> None:
    first = build_firmware(project, target, tmp_path / "out")
    header = project / "include" / "fake_layers.h"
    header.write_text(header.read_text().replace("1500", "9500"))
    assert build_firmware(project, target, tmp_path / "out").ram_bytes > first.ram_bytes + 15_000


def test_a_failing_build_shows_errors_and_keeps_the_old(
    project: Path, tmp_path: Path, target: str
) -> None:
    elf = build_firmware(project, target, tmp_path / "out").elf
    before = elf.read_bytes()
    source = project / "src" / "fake_layers.c"
    source.write_text(source.read_text() + "int broken(void) { return nothing_here; }\n")
    with pytest.raises(ToolchainError, match=r"(?s)failed:.*nothing_here"):
        build_firmware(project, target, tmp_path / "out")
    source.write_text("int fake_add_is_gone;\n")
    with pytest.raises(ToolchainError, match=r"(?s)failed:.*fake_fold"):
        build_firmware(project, target, tmp_path / "out")
    assert elf.read_bytes() == before


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("static volatile char much[300000]; int use(void) { return much[1]; }", "bytes of RAM"),
        ("const volatile char much[2000000] = {1}; int use(void) { return much[1]; }", "of FLASH"),
    ],
)
def test_what_does_not_fit_is_refused(
    project: Path, tmp_path: Path, require_tool: Callable[..., object], extra: str, words: str
) -> None:
    require_tool(lambda: find_compiler("zig"))
    model = project / "firmware" / "app_model.c"
    init = "static tesla_status_t init(void) {\n"
    used = (
        f"int use(void);\n{extra}\n{init}    if (use() == 7) {{\n        return TESLA_OK;\n    }}\n"
    )
    text = model.read_text().replace(init, used)
    model.write_text(text)
    with pytest.raises(CodegenError, match=f"does not fit emulator: [0-9,]+ .*{words}"):
        build_firmware(project, "emulator", tmp_path / "out")


def test_what_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no generated project"):
        build_firmware(tmp_path, "host", tmp_path / "out")
