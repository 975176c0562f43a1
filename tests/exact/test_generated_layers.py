"""The generated C equals the interpreter bit for bit: every layer, every region, many models."""

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import require
from graphs import (
    Native,
    Request,
    expected_layers,
    extreme_model,
    first_difference,
    int8_inputs,
    narrow_model,
    quantized_model,
)

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model
from tesla_host.compilers import find_compiler

SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
QUICKLY = ("-O0", "-g0")
"""How the calls of kernels are compiled where the kernels are what is tested."""


def gcc() -> list[str]:
    if shutil.which("gcc") is None:
        raise ToolchainError("gcc is not installed; run: apt install gcc")
    return ["gcc"]


def zig() -> list[str]:
    if importlib.util.find_spec("ziglang") is None:
        raise ToolchainError("zig is not installed; run: pip install 'tesla-embed[zig]'")
    return [sys.executable, "-m", "ziglang", "cc"]


def differences(native: Native, models: Sequence[Model], samples: int) -> list[str]:
    """The first difference of each model and region; nothing if all are equal."""
    requests = [
        Request(index, region.dp, int8_inputs(model, index, samples))
        for index, model in enumerate(models)
        for region in model.regions
    ]
    found = []
    for request, layers in zip(requests, native.layers(requests), strict=True):
        expected = expected_layers(models[request.model], request)
        for (name, wanted), layer in zip(expected.items(), layers, strict=True):
            where = f"model {request.model}, {request.dp} %, {name}"
            if difference := first_difference(where, layer, wanted):
                found.append(difference)
                break
    return found


def mixed(ordinary: range, extreme: range) -> list[Model]:
    return [*map(quantized_model, ordinary), *map(extreme_model, extreme)]


def test_gcc(tmp_path: Path) -> None:
    """With the inner loops of microcontrollers; the other tests have those of vector units."""
    models = mixed(range(130), range(70))
    native = Native(models, tmp_path, require(gcc), ["-O1", "-U__SSE2__", "-U__ARM_NEON"])
    assert differences(native, models, samples=5) == []


@pytest.mark.parametrize("level", ["-O2", "-Os"])
def test_gcc_optimised(tmp_path: Path, level: str) -> None:
    models = mixed(range(200, 208), range(200, 208))
    native = Native(models, tmp_path, require(gcc), [level])
    assert differences(native, models, samples=20) == []


def test_vectorised_for_this_processor(tmp_path: Path) -> None:
    """As the host build is: where an output overlaps its input, loops cannot be widened freely."""
    models = mixed(range(600, 612), range(600, 612))
    native = require(lambda: find_compiler("host"))
    program = Native(models, tmp_path, native.command, ["-O3", *native.native])
    assert differences(program, models, samples=10) == []


def test_clang(tmp_path: Path) -> None:
    models = mixed(range(300, 315), range(300, 315))
    native = Native(models, tmp_path, require(zig), ["-O2"])
    assert differences(native, models, samples=10) == []


def test_weights_of_four_bits(tmp_path: Path) -> None:
    """Two to a byte: odd numbers of channels, regions that end within a byte, every kernel."""
    native = Native([*map(narrow_model, range(120))], tmp_path, require(gcc), ["-O1", *SANITIZERS])
    assert differences(native, native.models, samples=5) == []


def test_weights_of_four_bits_clang(tmp_path: Path) -> None:
    models = [*map(narrow_model, range(500, 515))]
    native = Native(models, tmp_path, require(zig), ["-O2"])
    assert differences(native, models, samples=10) == []


def test_sanitizers(tmp_path: Path) -> None:
    """No access outside the buffers, which have exactly their sizes; no undefined arithmetic."""
    models = mixed(range(400, 430), range(400, 430))
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS])
    assert differences(native, models, samples=8) == []
