"""Estimates beside measurements: each layer within 3 %, on networks that no fit has seen.

Layers of less than 1,000 instructions may be off by 30. Coefficients belong to a compiler: with
another version than the one measured there is nothing to judge.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import require, tools_of
from less_sure import LESS_SURE
from shell import call

from tesla_codegen.kernels.variant import Optimize
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Softmax, Window
from tesla_embed.ir.store import save_model
from tesla_host.compilers import find_compiler
from tesla_host.estimate.coefficients import load_coefficients
from tesla_host.estimate.comparison import ALLOWED, Comparison, measure_estimate
from tesla_host.estimate.designs import NETWORKS, design
from tesla_host.estimate.measure import measure_model
from tesla_host.estimate.sketch import Sketch
from tesla_host.targets import find_target, start

SAME = Window(height=3, width=3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
HALF = Window(
    height=3, width=3, stride_height=2, stride_width=2, pad_top=1, pad_bottom=1, pad_left=1,
    pad_right=1,
)  # fmt: skip
ONE = Window(height=1, width=1)
GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-board.md"
DPS = (20, 40, 70, 100)
BUILDS = [
    ("emulator", "zig"),
    ("emulator", "gcc"),
    ("qemu:mps3-an547", "zig"),
    ("qemu:mps3-an547", "gcc"),
]


def residual() -> Model:
    """A small ResNet with depthwise layers."""
    sketch = Sketch(np.random.default_rng(11), (24, 20, 3))
    sketch.conv(24, SAME)
    start = sketch.at
    sketch.conv(24, SAME)
    sketch.add(start, sketch.at)
    sketch.depthwise(HALF)
    sketch.conv(40, ONE)
    sketch.depthwise(SAME)
    sketch.conv(52, HALF)
    sketch.pool(Window(height=2, width=2, stride_height=2, stride_width=2), average=False)
    sketch.mean()
    sketch.dense(10, scalable=False, scale=0.1)
    sketch.unit(Softmax)
    return sketch.model(DPS, name="residual")


def perceptron() -> Model:
    """An MLP."""
    sketch = Sketch(np.random.default_rng(12), (300,))
    for size in (120, 90, 70):
        sketch.dense(size)
    sketch.dense(12, scalable=False)
    return sketch.model(DPS, name="perceptron")


def judged(
    target: str,
    toolchain: str,
    model: Model,
    folder: Path,
    optimize: Optimize = Optimize.BALANCED,
) -> Comparison:
    require(lambda: tools_of(target, toolchain))
    row, compiler = find_target(target), find_compiler(toolchain)
    measured = load_coefficients(row, toolchain, optimize).compiler
    if compiler.version != measured:
        pytest.skip(f"coefficients are for {measured}, this is {compiler.version}")
    found = measure_estimate(model, row, toolchain, folder, optimize)
    off = [
        layer
        for layer in found.layers
        if layer.error is None or abs(layer.error) > LESS_SURE.get(layer.kernel, ALLOWED)
    ]
    assert not off, off
    return found


@pytest.mark.parametrize(("target", "toolchain"), BUILDS)
@pytest.mark.parametrize("make", [residual, perceptron])
def test_small_networks(
    target: str, toolchain: str, make: Callable[[], Model], tmp_path: Path
) -> None:
    found = judged(target, toolchain, make(), tmp_path)
    assert found.flash_predicted is not None and found.flash_measured is not None
    assert found.flash_predicted == pytest.approx(found.flash_measured, rel=0.02)
    assert found.ram_predicted == pytest.approx(found.ram_measured, abs=16)
    assert all(error is not None and abs(error) < 0.02 for error in found.regions.values())


@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
@pytest.mark.parametrize("optimize", [Optimize.SIZE, Optimize.SPEED])
def test_what_is_optimised_for(optimize: Optimize, toolchain: str, tmp_path: Path) -> None:
    """Compiled and chosen otherwise, kernels have coefficients of their own."""
    found = judged("emulator", toolchain, residual(), tmp_path, optimize)
    assert found.flash_predicted is not None and found.flash_measured is not None
    assert found.flash_predicted == pytest.approx(found.flash_measured, rel=0.02)
    assert all(error is not None and abs(error) < 0.02 for error in found.regions.values())


@pytest.mark.parametrize(("target", "toolchain"), BUILDS)
def test_layers_of_every_kind(target: str, toolchain: str, tmp_path: Path) -> None:
    """Some 250 random layers, in three regions."""
    found = judged(target, toolchain, design(NETWORKS + 1000), tmp_path)
    assert len(found.layers) > 500
    assert found.median is not None and found.median < 0.005


def test_the_verb_tells_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    require(lambda: tools_of("emulator"))
    save_model(tmp_path / "m.safetensors", perceptron())
    out = tmp_path / "found.json"
    arguments = ["bench", "estimate", str(tmp_path / "m.safetensors"), "--json", str(out)]
    status = call(*arguments)
    said = capsys.readouterr().out
    (found,) = json.loads(out.read_text())["models"]
    assert status == 0 and found["worst"] <= ALLOWED
    assert f"RAM {found['ram_predicted']:,} B of {found['ram_measured']:,} B" in said
    monkeypatch.setattr("tesla_host.estimate.comparison.ALLOWED", -1.0)
    assert call(*arguments) == 1


def test_a_board_in_qemu_is_compared(tmp_path: Path) -> None:
    """Regression: it was opened by the name of its row, and that is the board itself."""
    target = "qemu:netduinoplus2"
    require(lambda: tools_of(target))
    save_model(tmp_path / "m.safetensors", perceptron())
    out = tmp_path / "found.json"
    arguments = ("bench", "estimate", tmp_path / "m.safetensors", "--json", out)
    assert call(*arguments, "--target", target) in (0, 1)  # whatever the estimates are worth
    (found,) = json.loads(out.read_text())["models"]
    assert len(found["layers"]) == 4 * len(DPS)
    assert all(layer["measured"] > 0 for layer in found["layers"])


@pytest.mark.parametrize("prefix", ["", "qemu:"])
def test_a_users_own_board_is_measured(prefix: str, tmp_path: Path) -> None:
    """Regression: its row's name is no target's name at all."""
    for language in ("toml", "c"):
        (text,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        (tmp_path / f"board.{language}").write_text(text)
    target = f"{prefix}{tmp_path / 'board.toml'}"
    require(lambda: tools_of(target))
    found = measure_model(perceptron(), find_target(target), None, tmp_path / "built")
    assert len(found.observations) == 4 * len(DPS)
    assert all(min(one.instructions) > 0 for one in found.observations)


@pytest.mark.parametrize("verb", ["estimate", "fit"])
def test_a_board_is_refused_before_anything_is_built(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = (tmp_path / "m.safetensors",) if verb == "estimate" else ("--out", tmp_path / "c.json")
    save_model(tmp_path / "m.safetensors", perceptron())
    assert call("bench", verb, *model, "--target", "netduinoplus2") == 2
    assert "or give qemu:netduinoplus2" in capsys.readouterr().err


def test_rows_that_nothing_emulates_do_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pico is a board that nothing emulates"):
        start(find_target("pico"), tmp_path / "firmware.elf")
