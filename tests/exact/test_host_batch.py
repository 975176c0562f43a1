"""Many samples through the host build: any number of processes, the same bits in the same order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from graphs import int8_inputs, quantized_model

from tesla_codegen.project import generate
from tesla_embed.data import load_data
from tesla_embed.errors import DeviceError, ToolchainError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.nn.networks import build
from tesla_embed.quant.pipeline import quantize_network
from tesla_embed.train.recipe import load_recipe
from tesla_host import appraisal, compilers, toolchain
from tesla_host.appraisal import appraise, fastest
from tesla_host.batch import run_batch
from tesla_host.build import build_firmware
from tesla_host.compilers import find_compiler


def native(model: Model, folder: Path) -> Path:
    require(lambda: find_compiler("host"))
    generate(model, folder / "project")
    return build_firmware(folder / "project", "host", folder / "host").elf


@pytest.mark.parametrize("count", [1, 15, 33, 101])
def test_any_number_of_processes_gives_the_same(tmp_path: Path, count: int) -> None:
    model = quantized_model(5)
    elf = native(model, tmp_path)
    inputs = int8_inputs(model, 3, count)
    for region in model.regions:
        expected = interpret(model, region, inputs)
        for workers in (1, 2, 3, 7):
            assert np.array_equal(run_batch(elf, model, region, inputs, workers), expected)
        assert np.array_equal(run_batch(elf, model, region, inputs), expected)


def test_one_process_that_fails_is_an_error(tmp_path: Path) -> None:
    model = quantized_model(5)
    elf = native(model, tmp_path)
    short = int8_inputs(model, 3, 64).reshape(64, -1)[:, 1:]
    with pytest.raises(DeviceError, match="stdin ended inside input"):
        run_batch(elf, model, model.regions[0], short, 4)


def test_accuracy_is_that_of_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured by the C of this machine, and by the interpreter where there is no compiler."""
    require(lambda: find_compiler("host"))
    data = load_data("digits")
    recipe = load_recipe("digits-cnn", [])
    network = build(recipe.network, data.input_shape, data.classes, recipe.profile, 0)
    model = quantize_network(network, data, "net", (30, 100))
    ran: list[str] = []
    real: Callable[..., np.ndarray] = appraisal.run_batch

    def counted(*arguments: object) -> np.ndarray:
        ran.append("C")
        return real(*arguments)

    monkeypatch.setattr(appraisal, "run_batch", counted)
    few = appraise(model, data, 200)
    assert ran == []
    monkeypatch.setattr(appraisal, "_WORTH_BUILDING", 0)
    assert appraise(model, data, 200) == few
    assert ran == ["C", "C"]

    def missing(*_: str) -> None:
        raise ToolchainError("no compiler")

    monkeypatch.setattr("tesla_host.build.find_compiler", missing)
    assert appraise(model, data, 200) == few
    assert ran == ["C", "C"]
    with fastest(model, 200) as run:
        assert run is interpret


def test_the_library_is_compiled_for_this_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = require(lambda: find_compiler("host"))
    if not compiler.native:
        pytest.skip(f"{compiler.version} does not know -march=native")
    assert len(compiler.processor) == 64
    asked: dict[str, tuple[str, ...]] = {}

    def stop(_: object, units: list[toolchain.Unit], *rest: object, frames: bool) -> None:
        asked.update({unit.source.name: unit.flags for unit in units})
        raise ToolchainError("far enough")

    monkeypatch.setattr("tesla_host.build.build_elf", stop)
    with pytest.raises(ToolchainError, match="far enough"):
        native(quantized_model(5), tmp_path)
    assert set(compiler.native) <= set(asked["tesla_net.c"])
    assert not set(compiler.native) & set(asked["board.c"])
    elsewhere = compilers.Compiler(name="x", command=("false",), version="")
    assert compilers._for_this_processor(elsewhere) == elsewhere
