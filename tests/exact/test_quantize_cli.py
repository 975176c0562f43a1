"""The verbs quantize and diagnose with their options, down to the C of four bits."""

import importlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import require
from shell import call
from small_networks import network_for, small

from tesla_embed.data import load_data, spread
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.store import digest, load_model
from tesla_embed.quant import (
    Calibration,
    QatOptions,
    QuantizeOptions,
    Reduction,
    quantize_checkpoint,
    quantize_network,
)
from tesla_embed.quant.diagnose import diagnose
from tesla_embed.quant.mixed import weights_bytes
from tesla_embed.quant.pipeline import prepare
from tesla_embed.quant.score import accuracy
from tesla_embed.train.checkpoint import load_checkpoint
from tesla_embed.train.evaluate import evaluate
from tesla_embed.train.loop import train
from tesla_host.compilers import find_compiler

DPS = (25, 50, 100)
USUAL = ("--data", "digits", "--regions", "25,50,100", "--samples", "200")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that knows some digits.

    One that answers everything alike has nothing that training integers could mend: the loss stays
    where it is to the last digit of float32, and the integers with it.
    """
    changes = ("hidden=[24, 16]", "scalable=[true, true]", "budget.epochs=16", "batch=32")
    data, folder = load_data("digits"), tmp_path_factory.mktemp("trained")
    path = train(small("universal", *changes), data, folder).path
    known = evaluate(load_checkpoint(path).network, data.test, DPS).accuracy
    assert min(known.values()) > 0.4, "knows no digits, so the tests below would compare noise"
    return path


def quantized(trained: Path, folder: Path, *options: str) -> Model:
    out = folder / "model.safetensors"
    assert call("quantize", trained, *USUAL, "--out", out, *options) == 0
    return load_model(out)


def bits(model: Model) -> list[int]:
    return [op.weights.bits for op in model.graph.ops if isinstance(op, Weighted)]


def test_the_verb_does_what_the_library_does(trained: Path, tmp_path: Path) -> None:
    """Every option reaches the value that decides."""
    checkpoint, data = load_checkpoint(trained), load_data("digits")
    choices: dict[tuple[str, ...], QuantizeOptions] = {
        (): QuantizeOptions(samples=200),
        ("--calibration", "mse", "--tables", "shared"): QuantizeOptions(
            samples=200, calibration=Calibration(method="mse", tables="shared")
        ),
        ("--calibration", "percentile", "--percentile", "99"): QuantizeOptions(
            samples=200, calibration=Calibration(method="percentile", percentile=99.0)
        ),
        ("--bias-correction",): QuantizeOptions(samples=200, bias_correction=True),
        ("--weights", "int4", "--rounding", "nearest"): QuantizeOptions(
            samples=200, reduction=Reduction(bits="int4", rounding="nearest")
        ),
        ("--weights", "mixed", "--budget", "2000"): QuantizeOptions(
            samples=200, reduction=Reduction(bits="mixed", budget_bytes=2000)
        ),
        ("--qat", "--qat-epochs", "3", "--qat-samples", "1000"): QuantizeOptions(
            samples=200, qat=QatOptions(epochs=3, samples=1000)
        ),
    }
    digests = []
    for arguments, options in choices.items():
        model = quantized(trained, tmp_path, *arguments)
        digests.append(digest(model))
        assert digests[-1] == digest(quantize_checkpoint(checkpoint, data, DPS, options)), arguments
    assert len(set(digests)) == len(digests)


def test_mixed_weights_keep_their_limits(trained: Path, tmp_path: Path) -> None:
    whole, narrow = (quantized(trained, tmp_path, "--weights", width) for width in ("int8", "int4"))
    assert set(bits(whole)) == {8} and set(bits(narrow)) == {4}
    assert weights_bytes(narrow) == weights_bytes(whole) // 2
    budget = (weights_bytes(whole) + weights_bytes(narrow)) // 2
    mixed = quantized(trained, tmp_path, "--weights", "mixed", "--budget", str(budget))
    assert weights_bytes(mixed) <= budget
    assert set(bits(mixed)) == {4, 8}
    lax = quantized(trained, tmp_path, "--weights", "mixed", "--max-loss", "100")
    assert set(bits(lax)) == {4}


def test_mixed_weights_lose_no_more_than_they_may(trained: Path, tmp_path: Path) -> None:
    """Measured here on the very examples that judge, with four bits that are merely rounded."""
    data = load_data("digits")
    others = np.setdiff1d(np.arange(len(data.train)), spread(len(data.train), 200))
    judges = others[spread(len(others), 1000)]

    def scores(*options: str) -> list[float]:
        model = quantized(trained, tmp_path, *options)
        return list(accuracy(model, data.train.floats(judges), data.train.y[judges]).values())

    rounded = ("--rounding", "nearest", "--weights")
    whole, narrow = scores(), scores(*rounded, "int4")
    worst = max(a - b for a, b in zip(whole, narrow, strict=True))
    assert worst > 0.02, "rounding costs nothing here, so no limit matters"
    limit = worst / 2
    kept = scores(*rounded, "mixed", "--max-loss", str(100 * limit))
    assert max(a - b for a, b in zip(whole, kept, strict=True)) <= limit + 1e-12
    mixed = load_model(tmp_path / "model.safetensors")
    assert 8 in bits(mixed)


def test_budget_that_is_too_small(trained: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "m"
    arguments = ("--weights", "mixed", "--budget", "10")
    assert call("quantize", trained, *USUAL, "--out", out, *arguments) == 2
    assert "more than the budget of 10" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        "--weights mixed",
        "--max-loss 1",
        "--weights mixed --max-loss nan",
        "--weights mixed --budget -1",
        "--calibration percentile --percentile 20",
        "--percentile 99",
        "--rounding nearest",
        "--qat-epochs 4",
        "--qat-samples 100",
    ],
)
def test_options_that_contradict_or_do_nothing(
    trained: Path, tmp_path: Path, capsys: Any, wrong: str
) -> None:
    out = tmp_path / "m"
    assert call("quantize", trained, *USUAL, "--out", out, *wrong.split()) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_nothing_is_written_that_no_c_can_be_made_of(tmp_path: Path, capsys: Any) -> None:
    """A recipe may have any name, a model not those of the C library."""
    data = load_data("digits")
    recipe = msgspec.structs.replace(small("idp"), name="parts")
    path = train(recipe, data, tmp_path / "run").path
    out = tmp_path / "m"
    assert call("quantize", path, *USUAL, "--out", out) == 2
    assert "cannot be called parts" in capsys.readouterr().err
    assert not out.exists()


def test_comparing_tables_tells_bytes_and_accuracy(
    trained: Path, tmp_path: Path, capsys: Any
) -> None:
    numbers = tmp_path / "n.json"
    model = quantized(
        trained, tmp_path, "--compare-tables", "--check", "150", "--json", str(numbers)
    )
    content = json.loads(numbers.read_text())
    assert content["schema"] == "tesla-embed/quantize/1"
    assert content["digest"] == digest(model)
    assert content["options"]["samples"] == 200
    region, shared = (content["tables"][name] for name in ("region", "shared"))
    assert shared["table_bytes"] < region["table_bytes"]
    data = load_data("digits")
    truth = accuracy(model, data.test.floats(slice(0, 150)), data.test.y[:150])
    assert {int(dp): value for dp, value in region["accuracy"].items()} == truth
    assert set(region["reference"]) == {"25", "50", "100"}
    printed = capsys.readouterr().out
    assert "region tables: weights" in printed and "shared tables: weights" in printed


def test_training_the_integers_keeps_or_improves_their_answers(
    trained: Path, tmp_path: Path
) -> None:
    data = load_data("digits")
    x, y = data.test.floats(), data.test.y
    rounded = quantized(trained, tmp_path, "--weights", "int4", "--rounding", "nearest")
    arguments = ("--weights", "int4", "--rounding", "nearest", "--qat", "--qat-epochs", "4")
    taught = quantized(trained, tmp_path, *arguments)
    assert set(bits(taught)) == {4}
    before, after = (sum(accuracy(model, x, y).values()) for model in (rounded, taught))
    assert after > before


def test_any_network_can_be_quantised() -> None:
    recipe = small("idp")
    data = load_data("digits")
    model = quantize_network(network_for(recipe), data, "mine", (50, 100))
    assert model.name == "mine"
    assert [region.dp for region in model.regions] == [50, 100]


def test_four_bits_are_bit_exact_and_half_the_flash(trained: Path, tmp_path: Path) -> None:
    require(lambda: find_compiler("zig"))
    require(lambda: importlib.import_module("ai_edge_litert"))
    quantized(trained, tmp_path, "--weights", "int4")
    model = tmp_path / "model.safetensors"
    assert call("verify", model, "--target", "host", "--samples", "32") == 0


def test_diagnosis_of_checkpoints_and_models(trained: Path, tmp_path: Path, capsys: Any) -> None:
    quantized(trained, tmp_path, "--weights", "int4", "--rounding", "nearest")
    model, numbers = tmp_path / "model.safetensors", tmp_path / "d.json"
    assert call("diagnose", model, "--data", "digits") == 0
    assert "compared with the model's own weights" in capsys.readouterr().out
    against = ("--against", trained, "--json", numbers)
    assert call("diagnose", model, "--data", "digits", *against) == 0
    assert "four bits are few for" in capsys.readouterr().out
    content = json.loads(numbers.read_text())
    assert content["schema"] == "tesla-embed/diagnosis/1"
    assert content["reference"] == "the float network"
    assert {one["dp"] for one in content["layers"]} == set(DPS)
    assert {"sqnr_db", "own_db", "saturated", "starved", "bits"} <= content["layers"][0].keys()
    worst = min(one["own_db"] for one in content["layers"])
    assert (
        call("diagnose", trained, "--data", "digits", "--regions", "25,100", "--json", numbers) == 0
    )
    content = json.loads(numbers.read_text())
    assert {one["dp"] for one in content["layers"]} == {25, 100}
    assert min(one["own_db"] for one in content["layers"]) > worst + 6  # eight bits, not four
    assert call("diagnose", trained, "--data", "digits", "--against", trained) == 2
    assert call("diagnose", model, "--data", "digits", "--regions", "25") == 2


def test_diagnosis_knows_what_calibrated(trained: Path, tmp_path: Path, capsys: Any) -> None:
    """Other examples would move scales between channels, which is no noise."""
    numbers, data = tmp_path / "d.json", load_data("digits")
    model = quantized(trained, tmp_path, "--samples", "9")
    file = tmp_path / "model.safetensors"
    arguments = ("--data", "digits", "--against", trained, "--json", numbers, "--dp", "50")
    assert call("diagnose", file, *arguments) == 0
    assert "at 50 % DP" in capsys.readouterr().out
    found = [one["own_db"] for one in json.loads(numbers.read_text())["layers"]]
    network, examples = load_checkpoint(trained).network, data.test.floats(slice(0, 256))
    same, other = (
        [one.own_db for one in diagnose(plain, model, examples.reshape(256, 64)).layers]
        for plain in (prepare(network, data, model.name, DPS, count)[0] for count in (9, 1000))
    )
    assert found == pytest.approx(same)
    assert found != pytest.approx(other, rel=0.02), "calibration moved no scales here"


def test_diagnosis_refuses_other_data(trained: Path, tmp_path: Path, capsys: Any) -> None:
    rng = np.random.default_rng(0)
    for shape, message in (((8, 8, 1), "was not quantised on"), ((9, 9, 1), "takes examples of")):
        folder = tmp_path / str(shape[0])
        folder.mkdir()
        for part in ("train", "test"):
            x = rng.integers(0, 256, (40, *shape), dtype=np.uint8)
            np.savez(folder / part, x=x, y=np.arange(40) % 10)
        model = quantized(trained, tmp_path) and tmp_path / "model.safetensors"
        capsys.readouterr()
        other = ("--data", f"npz:{folder}")
        assert call("diagnose", model, *other, "--against", trained) == 2
        assert message in capsys.readouterr().err or shape[0] == 9
        assert call("diagnose", model, *other) == (2 if shape[0] == 9 else 0)
        assert message in capsys.readouterr().err or shape[0] == 8
