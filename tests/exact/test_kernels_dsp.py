"""Kernels for the DSP instructions equal the interpreter: in plain C, and as assembly on an M4."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import require
from graphs import (
    Cross,
    Emulated,
    Native,
    extreme_model,
    layered_model,
    quantized_model,
    strip_model,
    zig_m4,
)
from test_generated_layers import QUICKLY, SANITIZERS, differences, gcc

from tesla_codegen.kernels import dsp
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model


def gcc_m4() -> Cross:
    if shutil.which("arm-none-eabi-gcc") is None:
        raise ToolchainError(
            "arm-none-eabi-gcc is not installed; run: apt install gcc-arm-none-eabi"
        )
    flags = ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-ffreestanding")
    return Cross(flags, (*flags, "-nostdlib"), ("-lgcc",))


def clang_m4() -> Cross:
    if shutil.which("clang") is None:
        raise ToolchainError("clang is not installed; run: apt install clang")
    flags = ("clang", "--target=thumbv7em-none-eabi", "-mcpu=cortex-m4", "-mfloat-abi=soft")
    return Cross((*flags, "-ffreestanding"), gcc_m4().link, gcc_m4().libraries)


def fast_layers(models: Sequence[Model]) -> dict[str, int]:
    """How many layers, counted once for each region, every fast kernel computes."""
    counts: dict[str, int] = {}
    for model in models:
        for variant in choose(model, Isa.DSP, Optimize.BALANCED):
            if variant is not None and variant.kernel.endswith("_dsp"):
                kernel = variant.kernel
                counts[kernel] = counts.get(kernel, 0) + len(model.regions)
    return counts


KERNELS = {
    "tesla_fully_connected_dsp",
    "tesla_conv2d_dsp",
    "tesla_conv2d_1x1_dsp",
    "tesla_conv2d_flat_dsp",
    "tesla_conv2d_3x3_dsp",
    "tesla_depthwise_conv2d_dsp",
    "tesla_max_pool2d_dsp",
    "tesla_average_pool2d_dsp",
    "tesla_add_dsp",
    "tesla_add_once_dsp",
    "tesla_mean_dsp",
}


@pytest.mark.parametrize("first", range(0, 160, 80))
def test_plain_c(tmp_path: Path, first: int) -> None:
    """Packing, prefixes and the bounds of every buffer, with the references of the assembly."""
    models = [
        *map(layered_model, range(first, first + 80)),
        *map(strip_model, range(first, first + 5)),
    ]
    counts = fast_layers(models)
    assert set(counts) == KERNELS
    assert sum(counts.values()) >= 1000  # in both parts together at least 2,000
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP, QUICKLY)
    assert differences(native, models, samples=4) == []


def test_plain_c_of_any_network(tmp_path: Path) -> None:
    models = [*map(quantized_model, range(60)), *map(extreme_model, range(60))]
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP, QUICKLY)
    assert differences(native, models, samples=5) == []


def test_plain_c_with_tables_as_kernels_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `Optimize.SPEED` generates."""
    monkeypatch.setattr(dsp, "compacted", lambda model, cuts, index, variant: variant)
    models = [*map(layered_model, range(4000, 4030))]
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP, QUICKLY)
    assert not (tmp_path / "tesla_unpack_dsp.o").exists()
    assert differences(native, models, samples=4) == []


def test_assembly(tmp_path: Path) -> None:
    models = [*map(layered_model, range(1000, 1100)), *map(extreme_model, range(200, 220))]
    assert set(fast_layers(models)) == KERNELS
    native = Emulated(models, tmp_path, require(zig_m4), ["-O2"], Isa.DSP)
    assert differences(native, models, samples=4) == []


@pytest.mark.parametrize("tools", [gcc_m4, clang_m4])
@pytest.mark.parametrize("level", ["-O0", "-O3", "-Os"])
def test_assembly_of_other_compilers(
    tmp_path: Path, tools: Callable[[], Cross], level: str
) -> None:
    models = [*map(layered_model, range(2000, 2020)), *map(strip_model, range(2))]
    assert set(fast_layers(models)) == KERNELS
    native = Emulated(models, tmp_path, require(tools), [level], Isa.DSP)
    assert differences(native, models, samples=3) == []
