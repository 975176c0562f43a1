"""Transformed 3 by 3 filters equal the interpreter: in plain C, and as assembly on an M4."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import require, tools_of
from graphs import Cross, Emulated, Native, filtered_model, int8_inputs, layered_model, zig_m4
from graphs.tight import tight_plan
from test_generated_layers import QUICKLY, SANITIZERS, differences, gcc
from test_kernels_dsp import clang_m4, gcc_m4

from tesla_codegen import lower
from tesla_codegen.kernels import dsp_winograd
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.project import generate
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret_layers
from tesla_embed.nn.export import to_model
from tesla_embed.nn.networks import build
from tesla_embed.nn.norm import norms
from tesla_embed.quant import calibrate, quantize
from tesla_embed.train.recipe import load_recipe
from tesla_host.build import build_firmware
from tesla_host.targets import find_target, open_link

KERNEL = "tesla_conv2d_winograd_dsp"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is taken wherever it is exact, also where it brings nothing."""
    monkeypatch.setattr(dsp_winograd, "LARGEST_SHARE", float("inf"))


def layers(models: Sequence[Model]) -> int:
    """How many layers the kernel computes, counted once for each region."""
    return sum(
        len(model.regions)
        for model in models
        for variant in choose(model, Isa.DSP, Optimize.SPEED)
        if variant is not None and variant.kernel == KERNEL
    )


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("first", range(0, 160, 80))
def test_plain_c(tmp_path: Path, first: int) -> None:
    """Packing, prefixes and the bounds of every buffer, with the references of the assembly."""
    models = [*map(filtered_model, range(first, first + 80))]
    assert layers(models) >= 150
    native = Native(
        models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP, QUICKLY, Optimize.SPEED
    )
    assert differences(native, models, samples=4) == []


def test_plain_c_of_layers_of_all_kinds(tmp_path: Path) -> None:
    """As the generator chooses, beside the other kernels."""
    models = [*map(layered_model, range(300, 360)), *map(filtered_model, range(300, 360))]
    assert layers(models) >= 50
    native = Native(
        models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP, QUICKLY, Optimize.SPEED
    )
    assert differences(native, models, samples=4) == []


@pytest.mark.usefixtures("always")
def test_assembly(tmp_path: Path) -> None:
    models = [*map(filtered_model, range(1000, 1100))]
    assert layers(models) >= 200
    native = Emulated(models, tmp_path, require(zig_m4), ["-O2"], Isa.DSP, optimize=Optimize.SPEED)
    assert differences(native, models, samples=4) == []


@pytest.mark.usefixtures("always")
def test_outputs_where_they_just_may_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place: each output begins as close to its input as the contract allows."""
    models = [*map(filtered_model, range(3000, 3100))]
    monkeypatch.setattr(lower, "plan", tight_plan)
    shared = [
        entry
        for model in models
        for entry in lower.lower(model, isa=Isa.DSP, optimize=Optimize.SPEED).plan.shared
    ]
    assert len(shared) >= 20 and layers(models) >= 200
    native = Emulated(models, tmp_path, require(zig_m4), ["-O2"], Isa.DSP, optimize=Optimize.SPEED)
    assert differences(native, models, samples=4) == []


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("tools", [gcc_m4, clang_m4])
@pytest.mark.parametrize("level", ["-O0", "-O3", "-Os"])
def test_assembly_of_other_compilers(
    tmp_path: Path, tools: Callable[[], Cross], level: str
) -> None:
    models = [*map(filtered_model, range(2000, 2020))]
    assert layers(models) >= 30
    native = Emulated(models, tmp_path, require(tools), [level], Isa.DSP, optimize=Optimize.SPEED)
    assert differences(native, models, samples=3) == []


def resnet8() -> Model:
    """ResNet-8 of MLPerf Tiny with random weights, at two percentages."""
    recipe = load_recipe("cifar10-resnet8", [])
    network = build(recipe.network, (32, 32, 3), 10, recipe.profile, 0, recipe.batch_norm)
    for layer in norms(network):
        layer.batches.fill_(1)
    model = to_model(network, "net", (50, 100))
    inputs = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
    return quantize(model, calibrate(model, inputs))


def instructions(model: Model, optimize: Optimize, folder: Path) -> list[int]:
    """What each region executes on the emulated M4, once its output is right."""
    target = find_target("emulator")
    generate(model, folder / "project", isa=target.isa, optimize=optimize)
    elf = build_firmware(folder / "project", target, folder).elf
    inputs = int8_inputs(model, 1, 1)
    counts = []
    with open_link(target.name, elf) as client:
        for region in model.regions:
            client.set_dp(region.dp)
            client.load_input(inputs.tobytes())
            client.run()
            ticks = client.layer_ticks()
            wanted = interpret_layers(model, region, inputs)[-1].tobytes()
            assert client.layer_dump(len(ticks) - 1) == wanted
            counts.append(sum(one["instructions"] for one in ticks))
    return counts


def test_a_network_takes_a_quarter_of_the_instructions_less(tmp_path: Path) -> None:
    require(lambda: tools_of("emulator"))
    model = resnet8()
    narrow, full = instructions(model, Optimize.SPEED, tmp_path / "speed")
    narrow_before, full_before = instructions(model, Optimize.BALANCED, tmp_path / "balanced")
    assert full < 8_500_000 and full < 0.75 * full_before
    assert narrow < narrow_before
