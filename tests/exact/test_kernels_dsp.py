"""Kernels for the DSP instructions equal the interpreter: in plain C, and as assembly on an M4."""

from pathlib import Path

import pytest
from conftest import require
from graphs import Cross, Emulated, Native, extreme_model, quantized_model
from test_generated_layers import SANITIZERS, differences, gcc, zig

from tesla_codegen.kernels.variant import Isa
from tesla_embed.ir.graph import Model


def mixed(ordinary: range, extreme: range) -> list[Model]:
    return [*map(quantized_model, ordinary), *map(extreme_model, extreme)]


def zig_m4() -> Cross:
    flags = ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m4+soft_float")
    quiet = ("-fno-sanitize=undefined", "-fno-stack-protector", "-ffreestanding")
    return Cross((*zig(), *flags, *quiet), (*zig(), *flags))


@pytest.mark.parametrize("first", [0, 100])
def test_plain_c(tmp_path: Path, first: int) -> None:
    """Packing, prefixes and the bounds of every buffer, with the references of the assembly."""
    models = mixed(range(first, first + 60), range(first, first + 40))
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP)
    assert differences(native, models, samples=5) == []


def test_emulated(tmp_path: Path) -> None:
    models = mixed(range(200, 240), range(200, 220))
    native = Emulated(models, tmp_path, require(zig_m4), ["-O2"], Isa.DSP)
    assert differences(native, models, samples=5) == []
