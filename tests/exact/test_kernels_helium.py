"""Kernels for Helium equal the interpreter: in plain C, and as assembly on an emulated M55."""

from pathlib import Path

import pytest
from conftest import require
from graphs import Cross, Native, Vectored, extreme_model, quantized_model
from test_generated_layers import SANITIZERS, differences, gcc, zig

from tesla_codegen.kernels.variant import Isa
from tesla_embed.ir.graph import Model
from tesla_host.catalogue import CORTEX_M55
from tesla_host.link.qemu import find_qemu
from tesla_host.toolchain import find_compiler


def mixed(ordinary: range, extreme: range) -> list[Model]:
    return [*map(quantized_model, ordinary), *map(extreme_model, extreme)]


def zig_m55() -> Cross:
    find_qemu()
    quiet = ("-fno-sanitize=undefined", "-fno-stack-protector")
    return Cross((*zig(), *CORTEX_M55.zig_flags, *quiet), (*zig(), *CORTEX_M55.zig_flags))


def gcc_m55() -> Cross:
    find_qemu()
    command = (*find_compiler("gcc").command, *CORTEX_M55.gcc_flags)
    return Cross(command, (*command, "-nostdlib", "-lgcc"))


@pytest.mark.parametrize("first", [0, 100])
def test_plain_c(tmp_path: Path, first: int) -> None:
    """Packing, prefixes and the bounds of every buffer, with the references of the assembly."""
    models = mixed(range(first, first + 60), range(first, first + 40))
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.HELIUM)
    assert differences(native, models, samples=5) == []


def test_zig(tmp_path: Path) -> None:
    models = mixed(range(200, 240), range(200, 220))
    native = Vectored(models, tmp_path, require(zig_m55), ["-O3"], Isa.HELIUM)
    assert differences(native, models, samples=5) == []


def test_gcc(tmp_path: Path) -> None:
    models = mixed(range(300, 340), range(300, 320))
    native = Vectored(models, tmp_path, require(gcc_m55), ["-O3"], Isa.HELIUM)
    assert differences(native, models, samples=5) == []
