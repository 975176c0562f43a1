"""What the committed results promise: floors that no change may break, and that they are not stale.

Results are those of `make bench`; counts are the same at every run, so that a fresh one by the same
compiler has to equal them.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import require, tools_of
from shell import call

from tesla_host.compilers import find_compiler

RESULTS = Path(__file__).parents[2] / "docs" / "results"
M4, M55 = "emulator", "qemu:mps3-an547"
KERNELS = {
    "conv3x3-16x16x32-32": (0.55, 0.50, 0.65),
    "conv3x3-8x8x64-64": (0.55, 0.50, 0.65),
    "conv3x3-32x32x3-32": (0.40, 0.38, 0.45),
    "conv1x1-25x5x64-64": (0.60, 0.58, 0.60),
    "fc-784-128": (0.52, 0.60, 1.0),
    "dw3x3-25x5x64": (0.33, 0.35, 0.55),
    "maxpool2x2-16x16x32": (0.20, 0.22, 0.40),
}
"""The peer's share that each may take: instructions and cycles of a Cortex-M4, instructions of a
Cortex-M55."""
NETWORKS = {"kws": 3_900_000, "ic": 14_000_000, "vww": 12_500_000, "ad": 300_000}
"""Instructions at full width on a Cortex-M4."""
NETWORKS_M55 = 0.65
SHARES = {75: 0.60, 50: 0.29, 25: 0.10}
"""Of its own full cost that ResNet-8 may take on a Cortex-M4 with so many of its channels."""
LOSSES = {50: 0.03, 25: 0.10}
"""What leading channels may cost more than a layer that has no others."""
Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    found: list[Row] = json.loads((RESULTS / name / f"{name}.json").read_text())["rows"]
    return found


def of(found: list[Row], target: str, toolchain: str) -> dict[tuple[str, int], Row]:
    return {
        (row["name"], row["dp"]): row
        for row in found
        if (row["target"], row["toolchain"]) == (target, toolchain)
    }


@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
def test_kernels(toolchain: str) -> None:
    on_m4, on_m55 = (of(rows("kernels"), target, toolchain) for target in (M4, M55))
    for name, (instructions, cycles, vectors) in KERNELS.items():
        assert on_m4[name, 100]["ratio"] <= instructions, name
        assert on_m4[name, 100]["ratio_cycles"] <= cycles, name
        assert on_m55[name, 100]["ratio"] <= vectors, name


@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
def test_networks(toolchain: str) -> None:
    on_m4, on_m55 = (of(rows("models"), target, toolchain) for target in (M4, M55))
    for name, instructions in NETWORKS.items():
        assert on_m4[name, 100]["instructions"] <= instructions, name
        assert on_m55[name, 100]["ratio"] <= NETWORKS_M55, name
    whole = on_m4["ic", 100]["instructions"]
    for dp, share in SHARES.items():
        assert on_m4["ic", dp]["instructions"] <= share * whole, dp


def test_estimates() -> None:
    """No layer of any network was further off than 3 %, on either core by either compiler."""
    for row in rows("models"):
        assert abs(row["estimate"]["worst_layer_error"]) <= 0.03, row


def test_a_network_is_as_its_row_says(tmp_path: Path) -> None:
    fresh = measured("models", tmp_path, "--only", "ic")
    known = of(rows("models"), M4, "gcc")
    for row in fresh:
        assert row["instructions"] == known["ic", row["dp"]]["instructions"]


@pytest.mark.parametrize("dp", LOSSES)
def test_leading_channels_cost_what_a_layer_without_others_does(dp: int, tmp_path: Path) -> None:
    known = of(rows("kernels"), M4, "gcc")
    for row in measured("kernels", tmp_path, "--dense", str(dp)):
        prefix = known[row["name"], dp]["instructions"]
        assert prefix <= (1 + LOSSES[dp]) * row["instructions"], row["name"]


def measured(verb: str, folder: Path, *options: str) -> list[Row]:
    """Fresh rows by GCC; skips where the committed ones are another version's."""
    require(lambda: tools_of(M4, "gcc"))
    known = next(row for row in rows(verb) if row["toolchain"] == "gcc")["compiler"]
    if find_compiler("gcc").version != known:
        pytest.skip(f"results are by {known}")
    out = folder / "rows.json"
    common = ("--toolchain", "gcc", "--no-portable", "--json", str(out))
    assert call("bench", verb, *options, *common) == 0
    found: list[Row] = json.loads(out.read_text())["rows"]
    return found
