"""Kernels for Helium equal the interpreter: in plain C, and as assembly on an emulated M55."""

import shutil
from pathlib import Path

import pytest
from conftest import require
from graphs import Cross, Native, Vectored, extreme_model, quantized_model, wide_model
from test_generated_layers import SANITIZERS, differences, gcc, zig

from tesla_codegen.kernels.variant import Isa
from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model
from tesla_host.catalogue import CORTEX_M55
from tesla_host.link.qemu import find_qemu
from tesla_host.toolchain import find_compiler


def zig_m55() -> Cross:
    find_qemu()
    quiet = ("-fno-sanitize=undefined", "-fno-stack-protector")
    return Cross((*zig(), *CORTEX_M55.zig_flags, *quiet), (*zig(), *CORTEX_M55.zig_flags))


def gcc_m55() -> Cross:
    find_qemu()
    command = (*find_compiler("gcc").command, *CORTEX_M55.gcc_flags)
    return Cross(command, (*command, "-nostartfiles"))


def clang_m55() -> Cross:
    """Clang for objects; the linker and the helper functions are those of GCC."""
    link = gcc_m55().link
    if shutil.which("clang") is None:
        raise ToolchainError("clang is not installed; run: apt install clang")
    target = "--target=thumbv8.1m.main-none-eabi"
    return Cross(("clang", target, *CORTEX_M55.gcc_flags), link)


def mixed(first: int, count: int) -> list[Model]:
    """Small models of all kinds, models at the edges, and wide ones."""
    seeds = range(first, first + count)
    return [*map(quantized_model, seeds), *map(extreme_model, seeds), *map(wide_model, seeds)]


@pytest.mark.parametrize("first", [0, 100])
def test_plain_c(tmp_path: Path, first: int) -> None:
    """Packing, prefixes and the bounds of every buffer, with the references of the assembly."""
    models = mixed(first, 40)
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.HELIUM)
    assert differences(native, models, samples=3) == []


def test_zig(tmp_path: Path) -> None:
    models = mixed(200, 32)
    native = Vectored(models, tmp_path, require(zig_m55), ["-O3"], Isa.HELIUM)
    assert differences(native, models, samples=3) == []


def test_gcc(tmp_path: Path) -> None:
    models = mixed(300, 32)
    native = Vectored(models, tmp_path, require(gcc_m55), ["-O3"], Isa.HELIUM)
    assert differences(native, models, samples=3) == []


def test_clang(tmp_path: Path) -> None:
    models = mixed(400, 24)
    native = Vectored(models, tmp_path, require(clang_m55), ["-O2"], Isa.HELIUM)
    assert differences(native, models, samples=3) == []
