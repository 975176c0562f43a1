"""PyTorch modules, by torch.export: trained, imported, as accurate as before, and bit-exact."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import require
from shell import call
from torch import Tensor, nn
from torch.nn import functional as F

from tesla_embed.data import DataSet, load_data
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.requantization import quantize_input
from tesla_embed.ir.store import digest, load_model
from tesla_embed.quant import QatOptions, QuantizeOptions, Reduction, quantize_module
from tesla_host.compilers import find_compiler

Capture = pytest.CaptureFixture[str]
EXAMPLE = torch.zeros(1, 1, 8, 8)


class Residual(nn.Module):
    """Convolutions around an addition, a depthwise one, a concatenation; NCHW as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.second = nn.BatchNorm2d(12)
        self.down, self.drop = nn.Conv2d(24, 16, 3, stride=2, padding=1), nn.Dropout(0.2)
        self.fc = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.first(self.stem(x)))
        y = F.relu(x + self.second(self.depthwise(x)))
        y = F.relu(self.down(torch.cat([x, y], 1)))
        result: Tensor = self.fc(self.drop(torch.flatten(y, 1)))
        return result


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits")


@pytest.fixture(scope="module")
def trained(digits: DataSet) -> nn.Module:
    """A module that knows the digits."""
    torch.manual_seed(0)
    module = Residual()
    x, y = first(digits.train.floats()), torch.from_numpy(digits.train.y.copy())
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(8):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(module(x[batch]), y[batch]).backward()
            optimizer.step()
    return module.eval()


def first(x: np.ndarray) -> Tensor:
    """Examples with channels first, as PyTorch takes them."""
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def right(model: Model, digits: DataSet) -> float:
    """Share of the test split that the integers know."""
    type_ = model.graph.tensors[model.graph.input].type
    region = model.regions[0]
    x = digits.test.floats().reshape(-1, *type_.shape)
    answers = interpret(model, region, quantize_input(region.types[model.graph.input], x))
    return float((answers.reshape(len(x), -1).argmax(1) == digits.test.y).mean())


@pytest.fixture(scope="module")
def saved(trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "Digits-v1.pt2"
    torch.export.save(torch.export.export(trained, (EXAMPLE,)), path)
    return path


def test_integers_know_what_the_module_knows(trained: nn.Module, digits: DataSet) -> None:
    with torch.no_grad():
        plain = (trained(first(digits.test.floats())).argmax(1).numpy() == digits.test.y).mean()
    assert plain > 0.95
    examples = digits.train.floats(slice(0, 200))
    model = quantize_module(trained, EXAMPLE, examples, "net", input_range=(0.0, 1.0))
    assert right(model, digits) > plain - 0.006  # two of 359
    options = QuantizeOptions(reduction=Reduction(bits="int4"))
    narrow = quantize_module(trained, EXAMPLE, examples, "net", options, input_range=(0.0, 1.0))
    bits = [op.weights.bits for op in narrow.graph.ops if isinstance(op, Weighted)]
    assert set(bits) == {4}
    assert right(narrow, digits) > plain - 0.02


def test_options_and_data_that_do_not_fit(trained: nn.Module, digits: DataSet) -> None:
    examples = digits.train.floats(slice(0, 20))
    for options in (
        QuantizeOptions(qat=QatOptions()),
        QuantizeOptions(reduction=Reduction(bits="mixed", budget_bytes=9999)),
    ):
        with pytest.raises(ConfigError, match="make_scalable"):
            quantize_module(trained, EXAMPLE, examples, "net", options)
    for wrong in (examples[:, :7], examples[:0], first(examples).numpy()):
        with pytest.raises(ConfigError, match="give data with channels last"):
            quantize_module(trained, EXAMPLE, wrong, "net")


def test_the_verb_on_every_implementation(
    saved: Path, trained: nn.Module, digits: DataSet, tmp_path: Path, capsys: Capture
) -> None:
    require(lambda: find_compiler("zig"))
    for module in ("ai_edge_litert", "unicorn"):
        require(lambda module=module: importlib.import_module(module))
    out = tmp_path / "m.safetensors"
    arguments = ("import", saved, "--data", "digits", "--trust", "--out", out)
    assert call(*arguments, "--samples", "150") == 0
    assert "digits_v1" in capsys.readouterr().out
    model = load_model(out)
    examples = digits.train.floats(slice(0, 150))
    same = quantize_module(trained, EXAMPLE, examples, "digits_v1", input_range=(0.0, 1.0))
    assert digest(model) == digest(same)
    assert model.provenance.recipe == "Digits-v1.pt2"
    assert call("verify", out, "--samples", "16", "--device-samples", "4") == 0
    x, y = tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(x, digits.test.floats(slice(0, 20)))
    assert call("run", out, "--input", x, "--output", y, "--dequantize") == 0
    with torch.no_grad():
        want = trained(first(digits.test.floats(slice(0, 20)))).numpy()
    step = model.regions[0].types[model.graph.output].quantization
    assert step is not None
    found = np.load(y).reshape(want.shape)
    assert np.abs(found - want).max() < 8 * step.scale
    assert call("export", out, "--out", tmp_path / "m.tflite") == 0


def test_check_tells_what_the_floats_reach(
    saved: Path, trained: nn.Module, digits: DataSet, tmp_path: Path, capsys: Capture
) -> None:
    """Integers alone do not say what quantising cost."""
    out, told = tmp_path / "m.safetensors", tmp_path / "told.json"
    arguments = ("import", saved, "--data", "digits", "--trust", "--out", out, "--check", "90")
    assert call(*arguments, "--json", told) == 0
    with torch.no_grad():
        classes = trained(first(digits.test.floats(slice(0, 90)))).argmax(1).numpy()
    wanted = (classes == digits.test.y[:90]).mean()
    found = json.loads(told.read_text())
    assert found["reference"] == {"100": wanted} and found["samples"] == 90
    said = f"of 90 test examples, by the integers, {wanted:.2%} by the floats"
    assert said in capsys.readouterr().out
    (answers,) = load_model(out).provenance.float_answers
    assert answers.samples == 90 and answers.accuracy(90) == wanted


def test_refusals_of_the_verb(saved: Path, tmp_path: Path, capsys: Capture) -> None:
    """One line, exit code 2, and nothing written."""
    out = tmp_path / "m.safetensors"
    other = tmp_path / "other.pt2"
    odd = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU()).eval()
    torch.export.save(torch.export.export(odd, (EXAMPLE,)), other)
    large = tmp_path / "large.pt2"
    plain = nn.Sequential(nn.Conv2d(3, 2, 3)).eval()
    torch.export.save(torch.export.export(plain, (torch.zeros(1, 3, 9, 9),)), large)
    half = tmp_path / "half.pt2"
    half.write_bytes(saved.read_bytes()[:3000])
    trusted = ("--data", "digits", "--trust")
    cases: list[tuple[Path, tuple[str, ...], str]] = [
        (saved, ("--data", "digits"), "add --trust"),
        (saved, ("--trust",), "give data to calibrate on"),
        (tmp_path / "none.pt2", trusted, "No such file"),
        (half, trusted, "cannot read it"),
        (other, trusted, "operator 1, gelu '1': is not supported; supported are"),
        (large, trusted, "takes examples (9, 9, 3), the data have (8, 8, 1)"),
    ]
    for path, arguments, reason in cases:
        capsys.readouterr()
        assert call("import", path, *arguments, "--out", out) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(errors) == 1 and reason in errors[0] and str(path) in errors[0]
        assert not out.exists()


def test_without_pytorch(
    saved: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("tesla_embed.nn"):
            raise ImportError("no module named torch")
        return whole(name, *arguments, **options)

    import builtins

    whole = builtins.__import__
    for name in [name for name in sys.modules if name.startswith("tesla_embed.nn.aten")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    out = tmp_path / "m.safetensors"
    assert call("import", saved, "--data", "digits", "--trust", "--out", out) == 3
    assert "needs PyTorch" in capsys.readouterr().err
