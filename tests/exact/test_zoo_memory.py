"""Flash, RAM and stack of the networks of MLPerf Tiny at full width, in ten regions.

`-s` shows all figures. What they are compared with was measured with GCC 12 on the same cores:
TensorFlow Lite Micro with CMSIS-NN, arena and stack.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from conftest import require, tools_of
from graphs import ZOO, zoo_model
from graphs.depth import touched_stack
from graphs.zoo import DPS

from tesla_codegen.kernels.variant import Optimize
from tesla_codegen.lower import Project
from tesla_codegen.project import generate
from tesla_host.build import BuildResult, build_firmware
from tesla_host.footprint import Footprint, footprint
from tesla_host.link.qemu import find_qemu
from tesla_host.targets import find_target, open_link

TFLM_RAM = {"kws": 22_820 + 844, "ic": 54_996 + 844, "vww": 100_708 + 844, "ad": 2_580 + 556}
BUILDS = [
    (target, toolchain)
    for target in ("emulator", "qemu:mps3-an547")
    for toolchain in ("zig", "gcc")
]


@dataclass(frozen=True)
class Made:
    """A benchmark's library on one target, by one compiler, for one purpose."""

    project: Project
    built: BuildResult
    found: Footprint


Make = Callable[..., Made]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    @cache
    def made(
        name: str,
        target: str,
        toolchain: str,
        optimize: Optimize = Optimize.BALANCED,
        dps: tuple[int, ...] = DPS,
    ) -> Made:
        require(lambda: tools_of(target, toolchain))
        row = find_target(target)
        folder = tmp_path_factory.mktemp("zoo")
        place = folder / "project"
        project = generate(zoo_model(name, dps), place, isa=row.isa, optimize=optimize)
        built = build_firmware(place, row, folder, toolchain=toolchain, optimize=optimize)
        found = footprint(built, project)
        print(f"{name}, {len(dps)} regions, {target}, {toolchain}, {optimize}: {found}")
        return Made(project, built, found)

    return made


@pytest.mark.parametrize(("target", "toolchain"), BUILDS)
@pytest.mark.parametrize("name", ZOO)
def test_less_ram_than_the_peer(make: Make, name: str, target: str, toolchain: str) -> None:
    made = make(name, target, toolchain)
    assert made.found.static == 0
    assert made.found.arena == made.project.plan.arena_bytes
    assert made.found.ram is not None
    assert made.found.ram < TFLM_RAM[name]


@pytest.mark.parametrize(("target", "toolchain"), BUILDS)
@pytest.mark.parametrize("name", ZOO)
def test_a_run_stays_within_its_stack(make: Make, name: str, target: str, toolchain: str) -> None:
    require(find_qemu)
    made = make(name, target, toolchain)
    measured = touched_stack(made.built, made.project, target)
    print(f"{name}, {target}, {toolchain}: {measured} B touched, at most {made.found.stack} B")
    assert made.found.stack is not None
    assert 0.5 * made.found.stack < measured <= made.found.stack


FLASH = [
    (Optimize.BALANCED, DPS, 24 << 10),
    (Optimize.BALANCED, DPS[-1:], 14 << 10),
    (Optimize.SIZE, DPS[1::2], 16 << 10),
    (Optimize.SIZE, DPS, 21 << 10),
    (Optimize.SIZE, DPS[-1:], 10 << 10),
]
"""What flash besides weights may take. Most are tables: every channel needs about six
bytes in each region, of which few repeat, as batch norm has statistics of its own there."""


@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
@pytest.mark.parametrize(("optimize", "dps", "limit"), FLASH)
def test_flash_beyond_weights(
    make: Make, optimize: Optimize, dps: tuple[int, ...], limit: int, toolchain: str
) -> None:
    found = make("ic", "emulator", toolchain, optimize, dps).found
    beyond = found.tables + found.code
    print(f"{beyond:,} B beyond weights, tables {found.tables:,} B")
    assert beyond <= limit


@pytest.mark.parametrize("name", ZOO)
def test_changing_the_region_is_cheap(make: Make, name: str) -> None:
    require(lambda: importlib.import_module("unicorn"))
    made = make(name, "emulator", "zig")
    with open_link("emulator", made.built.elf) as client:
        costs = [client.set_dp(dp)["instructions"] for dp in (100, *DPS, 10)]
    print(f"{name}: {max(costs)} instructions")
    assert max(costs) < 500
