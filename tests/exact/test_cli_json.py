"""`--json` of every verb: one document on stdout and nothing else, the same as in the file."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from conftest import require
from shell import call
from tiny_elf import DIGEST, write_elf

from tesla_embed.ir.store import load_model
from tesla_host.cli import app
from tesla_host.cli.verb import Verb, as_text, split_examples, with_values
from tesla_host.compilers import find_compiler

Capture = pytest.CaptureFixture[str]
Words = list[object]

TINY = ["--set", "max_epochs=1", "--set", "tasks=[100, 50]"]

CASES: dict[str, Callable[[Path], Words]] = {
    "demo": lambda at: [
        *("--recipe", "digits-mlp", "--regions", "50,100", "--target", "host", *TINY),
        *("--device-samples", "2", "--out", at / "demo"),
    ],
    "train": lambda at: ["digits-mlp", "--data", "digits", "--out", at / "again", *TINY],
    "evaluate": lambda at: [at / "net.safetensors", "--data", "digits", "--dp", "50,100"],
    "compare": lambda at: [
        *("digits-mlp", "--data", "digits", "--row", "tesla:linear", *TINY),
        *("--dp", "50,100", "--jobs", "1", "--out", at / "compare"),
    ],
    "cam": lambda at: [
        *(at / "cnn.safetensors", "--data", "digits", "--dp", "50,100"),
        *("--samples", "2", "--out", at / "cam.png"),
    ],
    "sort": lambda at: [at / "net.safetensors", "--by", "l1", "--out", at / "sorted.safetensors"],
    "prune": lambda at: [
        *(at / "net.safetensors", "--by", "l1", "--keep", "50", "--out", at / "p.safetensors")
    ],
    "quantize": lambda at: [
        *(at / "net.safetensors", "--data", "digits", "--regions", "50,100", "--check", "20"),
        *("--out", at / "q.safetensors"),
    ],
    "diagnose": lambda at: [at / "m.safetensors", "--data", "digits", "--samples", "8"],
    "import": lambda at: [at / "m.tflite", "--out", at / "imported.safetensors"],
    "inspect": lambda at: [at / "m.safetensors"],
    "run": lambda at: [*(at / "m.safetensors", "--input", at / "x.npy", "--output", at / "y.npy")],
    "export": lambda at: [at / "m.safetensors", "--dp", "50", "--out", at / "e.tflite"],
    "generate": lambda at: [at / "m.safetensors", "--out", at / "project"],
    "build": lambda at: [at / "m.safetensors", "--target", "host", "--out", at / "build"],
    "flash": lambda at: [
        *(at / "f.elf", "--board", "nucleo-f446re", "--programmer", "openocd", "--dry-run")
    ],
    "profile": lambda at: [
        *(at / "m.safetensors", "--data", "digits", "--target", "host", "--samples", "20"),
        *("--device-samples", "2"),
    ],
    "verify": lambda at: [
        *(at / "m.safetensors", "--target", "host", "--samples", "4", "--device-samples", "2")
    ],
    "report": lambda at: [at / "profile.json", "--out", at / "report.html"],
    "targets": lambda _: [],
    "doctor": lambda _: [],
    "estimate": lambda at: [at / "m.safetensors"],
    "bench kernels": lambda _: ["--only", "maxpool2x2-16x16x32", "--no-portable"],
}
"""A call of each verb that ends by itself and with exit code 0."""

ELSEWHERE = {
    "emulate": "runs until it is interrupted: see below",
    "energy": "needs what a current probe recorded: see test_energy",
    "monitor": "prints a document for each line: see test_monitor",
    "completion": "prints a program for the shell",
    "bench training": "measures for minutes",
    "bench models": "measures for minutes; see test_bench_counts",
    "bench boards": "measures for minutes; see test_bench_boards",
    "bench estimate": "measures for minutes; see test_estimate",
    "bench fit": "measures for minutes; see test_estimate",
}


def verbs() -> dict[str, Any]:
    """All commands, those of groups as "group verb"."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= (
            {f"{name} {verb}": one for verb, one in inner.items()} if inner else {name: command}
        )
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the verbs read, made by the verbs themselves."""
    require(lambda: find_compiler("host"))
    at = tmp_path_factory.mktemp("json")
    for recipe, name in (("digits-mlp", "net"), ("digits-cnn", "cnn")):
        assert call("train", recipe, "--data", "digits", "--out", at / name, *TINY) == 0
        (at / name / "model.safetensors").rename(at / f"{name}.safetensors")
    net, model = at / "net.safetensors", at / "m.safetensors"
    common = ("--data", "digits", "--regions", "50,100")
    assert call("quantize", net, *common, "--out", model) == 0
    assert call("export", model, "--out", at / "m.tflite") == 0
    profile = ["profile", *CASES["profile"](at), "--json", at / "profile.json"]
    assert call(*profile) == 0
    np.save(at / "x.npy", np.zeros((3, 64), np.int8))
    write_elf(at / "f.elf", 0x0800_0000, DIGEST + os.urandom(99))
    yield at


def test_no_verb_is_forgotten() -> None:
    assert CASES.keys() | ELSEWHERE.keys() == verbs().keys()
    assert not CASES.keys() & ELSEWHERE.keys()


def test_every_verb_but_those_exempt_takes_it() -> None:
    for name, command in verbs().items():
        options = {text for parameter in command.params for text in parameter.opts}
        assert ("--json" in options) == (name != "completion"), name


@pytest.mark.parametrize("name", CASES)
def test_stdout_is_one_document(name: str, place: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert call(*name.split(), *CASES[name](place), "--json") == 0
    shown = capsys.readouterr().out
    found = json.loads(shown)
    schema = {"diagnose": "diagnosis", "bench kernels": "bench"}.get(name, name)
    assert found["schema"] == f"tesla-embed/{schema}/1"
    assert len(found) > 1
    file = place / f"{name}-written.json"
    assert call(*name.split(), *CASES[name](place), "--json", file) == 0
    tables = capsys.readouterr().out
    assert tables and tables != shown
    written = json.loads(file.read_text())
    if name in ("profile", "demo"):  # which hold times that the host's clock took
        assert written.keys() == found.keys()
    else:
        assert written == found


def test_a_comparison_is_part_of_the_document(place: Path, capsys: Capture) -> None:
    old = json.loads((place / "profile.json").read_text())
    old["memory"]["arena_bytes"] -= 1
    (place / "old.json").write_text(json.dumps(old))
    capsys.readouterr()
    words = [*CASES["profile"](place), "--compare", place / "old.json", "--json"]
    assert call("profile", *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert ("memory", "arena_bytes") in {(row["where"], row["what"]) for row in found["worse"]}
    assert found["missing_regions"] == []


def test_emulate_begins_with_a_document(place: Path) -> None:
    command = [sys.executable, "-m", "tesla_host", "emulate", str(place / "m.safetensors")]
    with subprocess.Popen(
        [*command, "--target", "host", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()[1]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    found = json.loads("".join(lines))
    assert rest == "" and process.returncode == 130
    assert found["schema"] == "tesla-embed/emulate/1"
    assert found["address"].startswith("socket://127.0.0.1:")
    assert found["model"] == load_model(place / "m.safetensors").name


def test_an_error_leaves_stdout_empty(place: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert call("inspect", place / "none", "--json") == 2
    assert capsys.readouterr().out == ""


def test_which_words_are_files() -> None:
    assert with_values(["--json", "m.safetensors"]) == ["--json", "-", "m.safetensors"]
    assert with_values(["m", "--json"]) == ["m", "--json", "-"]
    assert with_values(["m", "--json", "out.JSON"]) == ["m", "--json", "out.JSON"]
    assert with_values(["--json", "-", "m"]) == ["--json", "-", "m"]
    assert with_values(["--json=x", "m"]) == ["--json=x", "m"]
    assert with_values(["--", "--json"]) == ["--", "--json"]
    assert with_values(["--json", "--dp", "50"]) == ["--json", "-", "--dp", "50"]


@pytest.mark.parametrize("verb", ["report", "inspect", "energy --csv x.csv"])
def test_a_missing_input_that_json_took_is_told(verb: str, capsys: Capture) -> None:
    """`report --json p.json` said that an argument is missing, which stood there."""
    assert call(*verb.split(), "--json", "p.json") == 2
    assert "if p.json is what to read, put it first: p.json --json; see" in capsys.readouterr().err
    assert call(*verb.split(), "--json") == 2
    assert "put it first" not in capsys.readouterr().err


def test_numbers_that_json_does_not_know_become_null() -> None:
    found = as_text({"a": float("nan"), "b": np.float32(0.5), "c": np.arange(2), "d": Path("x")})
    assert json.loads(found) == {"a": None, "b": 0.5, "c": [0, 1], "d": "x"}
    with pytest.raises(TypeError, match="object"):
        as_text({"a": object()})


def test_every_help_ends_with_examples_that_can_be_copied(capsys: Capture) -> None:
    for name, command in verbs().items():
        assert isinstance(command, Verb), name
        assert 1 <= len(command.examples) <= 3, name
        for example in command.examples:
            assert f"tesla-embed {name}" in example
        assert call(*name.split(), "--help") == 0
        shown = capsys.readouterr().out.splitlines()
        at = shown.index("Examples:")
        assert shown[at + 1 :] == [f"  {example}" for example in command.examples]
        assert "Example:" not in "\n".join(shown)


def test_examples_are_joined_lines() -> None:
    text = "Does it.\n\nExample: a b\n--c d\n\nExample: e"
    assert split_examples(text) == ("Does it.", ["a b --c d", "e"])
