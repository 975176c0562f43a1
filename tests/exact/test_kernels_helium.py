"""Kernels for Helium equal the interpreter: in plain C, and as assembly on an emulated M55."""

import shutil
from pathlib import Path

import pytest
from conftest import require
from graphs import (
    Cross,
    Native,
    Vectored,
    extreme_model,
    layered_model,
    quantized_model,
    wide_model,
)
from test_generated_layers import QUICKLY, SANITIZERS, differences, gcc, zig

from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model
from tesla_host.catalogue.cores import CORTEX_M55
from tesla_host.compilers import find_compiler
from tesla_host.link.qemu import find_qemu


def zig_m55() -> Cross:
    find_qemu()
    quiet = ("-fno-sanitize=undefined", "-fno-stack-protector")
    return Cross((*zig(), *CORTEX_M55.flags["zig"], *quiet), (*zig(), *CORTEX_M55.flags["zig"]))


def gcc_m55() -> Cross:
    find_qemu()
    command = (*find_compiler("gcc").command, *CORTEX_M55.flags["gcc"])
    return Cross(command, (*command, "-nostartfiles"))


def clang_m55() -> Cross:
    """Clang for objects; the linker and the helper functions are those of GCC."""
    link = gcc_m55().link
    if shutil.which("clang") is None:
        raise ToolchainError("clang is not installed; run: apt install clang")
    target = "--target=thumbv8.1m.main-none-eabi"
    return Cross(("clang", target, *CORTEX_M55.flags["gcc"]), link)


KERNELS = {
    "tesla_fully_connected_helium",
    "tesla_conv2d_helium",
    "tesla_conv2d_3x3_helium",
    "tesla_conv2d_dense_helium",
    "tesla_conv2d_planes_helium",
    "tesla_depthwise_conv2d_helium",
    "tesla_depthwise_conv2d_3x3_helium",
    "tesla_max_pool2d_helium",
    "tesla_average_pool2d_helium",
    "tesla_mean_helium",
    "tesla_add_helium",
}


def mixed(first: int, count: int) -> list[Model]:
    """Models of all kinds, at the edges, of common windows, and wide ones; all kernels occur."""
    seeds = range(first, first + count)
    makers = (quantized_model, extreme_model, layered_model, wide_model)
    models = [make(seed) for make in makers for seed in seeds]
    used = {
        variant.kernel
        for model in models
        for variant in choose(model, Isa.HELIUM, Optimize.BALANCED)
        if variant is not None
    }
    assert used >= KERNELS
    return models


@pytest.mark.parametrize("first", [0, 100])
def test_plain_c(tmp_path: Path, first: int) -> None:
    """Packing, prefixes and the bounds of every buffer, with the references of the assembly."""
    models = mixed(first, 30)
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.HELIUM, QUICKLY)
    assert differences(native, models, samples=3) == []


def test_zig(tmp_path: Path) -> None:
    models = mixed(500, 24)
    native = Vectored(models, tmp_path, require(zig_m55), ["-O3"], Isa.HELIUM)
    assert differences(native, models, samples=3) == []


def test_gcc(tmp_path: Path) -> None:
    models = mixed(300, 24)
    native = Vectored(models, tmp_path, require(gcc_m55), ["-O3"], Isa.HELIUM)
    assert differences(native, models, samples=3) == []


def test_clang(tmp_path: Path) -> None:
    models = mixed(400, 16)
    native = Vectored(models, tmp_path, require(clang_m55), ["-O2"], Isa.HELIUM)
    assert differences(native, models, samples=3) == []
