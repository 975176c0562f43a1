"""Transformed 3 by 3 filters equal the interpreter: in plain C, and as assembly on an M4."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import require
from graphs import Cross, Emulated, Native, filtered_model, layered_model, zig_m4
from test_generated_layers import SANITIZERS, differences, gcc
from test_kernels_dsp import clang_m4, gcc_m4

from tesla_codegen.kernels import dsp_winograd
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.ir.graph import Model

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
        models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP, optimize=Optimize.SPEED
    )
    assert differences(native, models, samples=4) == []


def test_plain_c_of_layers_of_all_kinds(tmp_path: Path) -> None:
    """As the generator chooses, beside the other kernels."""
    models = [*map(layered_model, range(300, 360)), *map(filtered_model, range(300, 360))]
    assert layers(models) >= 50
    native = Native(
        models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP, optimize=Optimize.SPEED
    )
    assert differences(native, models, samples=4) == []


@pytest.mark.usefixtures("always")
def test_assembly(tmp_path: Path) -> None:
    models = [*map(filtered_model, range(1000, 1100))]
    assert layers(models) >= 200
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
