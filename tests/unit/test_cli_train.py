"""The verbs `train` and `evaluate`, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tesla_embed.errors import ConfigError
from tesla_host.cli.train import evaluate, train

TINY = ["--set", "hidden=[12]", "--set", "max_epochs=1", "--set", "tasks=[100, 30]"]


def run(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(train)
    app.command()(evaluate)
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_train_then_evaluate(tmp_path: Path) -> None:
    out = tmp_path / "run"
    shown = run("train", "digits-mlp", "--data", "digits", "--out", out, *TINY)
    assert "model.safetensors" in shown and "100.0%" in shown
    numbers = tmp_path / "numbers.json"
    model = out / "model.safetensors"
    run("evaluate", model, "--data", "digits", "--dp", "10,20,…,100", "--json", numbers)
    found = json.loads(numbers.read_text())
    tens = [str(dp) for dp in range(10, 101, 10)]
    assert found["schema"] == "tesla-embed/evaluate/1"
    assert list(found["accuracy"]) == tens and list(found["macs"]) == tens
    assert found["macs"]["50"] == 64 * 6 + 6 * 10
    assert all(0 <= accuracy <= 1 for accuracy in found["accuracy"].values())


def test_shorthands_are_overrides(tmp_path: Path) -> None:
    arguments = ["digits-mlp", "--data", "digits", "--out", tmp_path, *TINY]
    run("train", *arguments, "--algorithm", "idp", "--profile", "all-one")
    model = tmp_path / "model.safetensors"
    assert b'\\"algorithm\\":\\"idp\\",\\"profile\\":\\"all-one\\"' in model.read_bytes()


def test_errors_reach_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        run("evaluate", tmp_path / "none", "--data", "digits", "--dp", "0")
    with pytest.raises(ConfigError, match="does not exist"):
        run("evaluate", tmp_path / "none", "--data", "digits")


def test_verbs_do_not_import_torch_before_they_run() -> None:
    program = "import sys, tesla_host.cli.train; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_trainable_profile_and_usage(tmp_path: Path) -> None:
    usage = tmp_path / "usage = 1.csv"
    usage.write_text("dp,count\n30,5\n")
    arguments = ["digits-mlp", "--data", "digits", "--out", tmp_path / "run", *TINY]
    arguments += ["--algorithm", "r-tesla", "--set", "max_epoch=2", "--trainable-profile"]
    run("train", *arguments, "--usage", usage)
    content = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert b'\\"profile\\":\\"trainable\\"' in content and b'\\"regions\\":[30]' in content
    with pytest.raises(ConfigError, match="excludes --profile linear"):
        run("train", *arguments, "--profile", "linear")
