"""Every row of the catalogue: the same bits wherever firmware runs, and sound images elsewhere."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import require, tools_of
from graphs.grow import Builder, Cell
from graphs.models import finish, float_inputs

from tesla_codegen.project import generate
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Activation, FullyConnected
from tesla_embed.ir.store import digest
from tesla_embed.ir.verify import verify
from tesla_embed.quant import calibrate, quantize
from tesla_host.build import BuildResult, build_firmware
from tesla_host.catalogue import TARGETS, Target
from tesla_host.link.client import ExpectedModel
from tesla_host.targets import find_target, open_link
from tesla_host.verifier import random_inputs

TOOLCHAINS = ("zig", "gcc", "clang")
EMULATED = [row.runs_as for row in TARGETS if row.core is not None and row.runs_as]
COMPILED = [row.name for row in TARGETS if row.runs_as is None]


@cache
def small_model() -> Model:
    """A convolution and two dense layers of 400 weights, in three regions."""
    builder = Builder(np.random.default_rng(5), portable=True)
    builder.begin((6, 6, 2))
    builder.conv(Cell(4, scalable=True), style="keep")
    builder.pool(average=False)
    builder.reshape((builder.last.size,))
    builder.fully_connected(scalable=True, size=9)
    builder.fully_connected(scalable=False, size=5)
    last = builder.ops[-1]
    assert isinstance(last, FullyConnected)
    builder.ops[-1] = replace(last, activation=Activation.NONE)  # negative outputs, too
    model = verify(finish(builder, "small", dps=(30, 60, 100)))
    return quantize(model, calibrate(model, float_inputs(model, 0, 8)))


def build(target: str, toolchain: str, folder: Path) -> tuple[Target, BuildResult]:
    require(lambda: tools_of(target, toolchain))
    row = find_target(target)
    generate(small_model(), folder / "project", isa=row.isa)
    flags = ("-Werror",)
    return row, build_firmware(
        folder / "project", row, folder, toolchain=toolchain, extra_flags=flags
    )


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("target", EMULATED)
def test_emulated(target: str, toolchain: str, tmp_path: Path) -> None:
    """The firmware of the row equals the interpreter, and says what it is."""
    _row, built = build(target, toolchain, tmp_path)
    model = small_model()
    inputs = random_inputs(model, 6)
    expected = ExpectedModel(name=model.name, digest=bytes.fromhex(digest(model)))
    with open_link(target, built.elf, expected) as client:
        assert client.hello().board == find_target(target).name
        for region in model.regions:
            client.set_dp(region.dp)
            truth = interpret(model, region, inputs)
            found = client.infer_many([x.tobytes() for x in inputs])
            for want, got in zip(truth, found, strict=True):
                assert got.output == want.tobytes()
