"""Figures of the library on a board that was connected: the board's, or none."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from graphs import benchmark_model

from tesla_codegen.arena_map import region_peak
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import lower
from tesla_embed import __version__
from tesla_host.inspection import arena_buffers
from tesla_host.layout import Layout, find_layout
from tesla_host.link.replies import Hello
from tesla_host.workbench import Workbench

MODEL = benchmark_model("kws01")
BUILT = {level: lower(MODEL, isa=Isa.DSP, optimize=level) for level in Optimize}
PORTABLE = lower(MODEL)


def hello(**changes: Any) -> Hello:
    """What a firmware of the catalogue's qemu:mps2-an386 says, as it is usually built."""
    said = Hello(
        max_body=256, receive_bytes=0, firmware_version=__version__, board="qemu:mps2-an386",
        cpu="Cortex-M4", clock_hz=0, counters=(), model=MODEL.name, digest=bytes(32),
        input_bytes=1, output_bytes=1, arena_bytes=BUILT[Optimize.BALANCED].arena_bytes,
        layer_count=1, regions=(),
    )  # fmt: skip
    return replace(said, **changes)


def of_board(said: Hello) -> Layout:
    bench = SimpleNamespace(model=MODEL, project=PORTABLE, device=None)
    return find_layout(cast(Workbench, bench), said)


def test_a_connected_boards_figures_are_not_those_of_the_portable_library() -> None:
    built = BUILT[Optimize.BALANCED]
    found = of_board(hello())
    assert found.arena_bytes == built.arena_bytes != PORTABLE.arena_bytes
    fitting = [one for one in BUILT.values() if one.arena_bytes == built.arena_bytes]
    for figure, values in (
        (found.weights_bytes, [one.weights_bytes for one in fitting]),
        (found.region_table_bytes, [one.region_table_bytes for one in fitting]),
    ):
        assert figure == (values[0] if len(set(values)) == 1 else None)
    assert found.buffers == arena_buffers(built) != arena_buffers(PORTABLE)
    assert found.peaks == {
        region.dp: region_peak(MODEL, region, built.plan) for region in MODEL.regions
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"board": "my-board"}, "no row of the catalogue is the board my-board"),
        (
            {"cpu": "Cortex-M7"},
            "no row of the catalogue is the board qemu:mps2-an386 with a Cortex-M7",
        ),
        ({"firmware_version": "0.0.1"}, "firmware is of version 0.0.1"),
        ({"arena_bytes": 12_345}, "no build for qemu:mps2-an386 has an arena of 12,345 bytes"),
    ],
)
def test_what_a_board_leaves_open_is_unknown_and_it_is_said_why(
    changes: dict[str, Any], says: str
) -> None:
    said = hello(**changes)
    found = of_board(said)
    assert found.arena_bytes == said.arena_bytes
    assert found.weights_bytes is found.region_table_bytes is found.bound_bytes is None
    assert not found.buffers and not found.peaks
    assert found.unknown is not None and says in found.unknown


def test_what_was_built_is_known_whatever_the_board_says() -> None:
    bench = SimpleNamespace(model=MODEL, project=PORTABLE, device=Path("firmware.elf"))
    found = find_layout(cast(Workbench, bench), hello(board="my-board"))
    assert (found.arena_bytes, found.weights_bytes) == (
        PORTABLE.arena_bytes, PORTABLE.weights_bytes,
    )  # fmt: skip
    assert found.buffers == arena_buffers(PORTABLE) and found.unknown is None
