"""Comparisons: what is run, how it is summed up and shown, and that it can be interrupted."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from shell import call

from tesla_embed.errors import ConfigError
from tesla_host.compare.figure import draw
from tesla_host.compare.plan import Row, parse_rows, parse_seeds, plan
from tesla_host.compare.results import (
    Comparison,
    RowResult,
    RunResult,
    read_reference,
    read_run,
    summarize,
)
from tesla_host.compare.runs import RESULT_NAME
from tesla_host.compare.study import Study, compare
from tesla_host.compare.table import markdown

TINY = ["hidden=[8]", "max_epochs=1", "tasks=[100, 30]", "batch=512"]


def nobody(status: str, fraction: float) -> None:
    assert 0 <= fraction <= 1


def result(*accuracies: float, macs: int = 50) -> RunResult:
    return RunResult(
        recipe="{}",
        data="",
        epochs=7,
        accuracy=dict(zip((10, 100), accuracies, strict=True)),
        macs={10: macs, 100: 200},
        full_macs=200,
    )


def row(algorithm: str = "tesla", *runs: RunResult) -> RowResult:
    chosen = runs or (result(0.5, 0.9), result(0.7, 1.0))
    return summarize("mnist-mlp", Row(algorithm, "linear"), list(enumerate(chosen)))


def test_rows_are_products_and_pairs_without_repetitions() -> None:
    rows = parse_rows(["tesla", "individual"], ["linear", "step"], ["idp:linear", "tesla:step"])
    assert [row.label for row in rows] == [
        "tesla, linear", "tesla, step", "individual, all-one", "idp, linear",
    ]  # fmt: skip


def test_a_row_may_have_changes_of_its_own() -> None:
    text = "r-tesla:step:batch=28:r_tesla.regions=[90, 10]"
    (row,) = parse_rows([], [], [text])
    assert row.text == text and row.label == "r-tesla, step, batch=28, r_tesla.regions=[90, 10]"
    (run,) = plan(["digits-mlp"], [row], (3,), ["batch=5"])
    assert run.recipe.optimizer.batch == 28 and run.recipe.r_tesla.regions == (90, 10)
    assert run.folder == "digits-mlp--r-tesla--step--batch=28--r_tesla.regions=_90_10_--3"


@pytest.mark.parametrize(
    ("pairs", "word"),
    [
        ([], "nothing to compare"),
        (["tesla"], "has no ':'"),
        (["x:linear"], "choose one of tesla, idp"),
        (["tesla:x"], "choose one of all-one, linear"),
        (["individual:x"], "choose one of all-one, linear"),
    ],
)
def test_bad_rows(pairs: list[str], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse_rows([], [], pairs)


def test_seeds() -> None:
    assert parse_seeds("0, 2,1") == (0, 2, 1)
    for text in ("", "a", "1,", "1,1"):
        with pytest.raises(ConfigError, match="write 0,1,2"):
            parse_seeds(text)


def test_plan_goes_seed_by_seed_and_fills_recipes_in(tmp_path: Path) -> None:
    rows = (Row("tesla", "linear"), Row("idp", "step"))
    runs = plan(["digits-mlp", "mnist-mlp"], rows, (3, 4), ["max_epochs=1"])
    assert [run.folder for run in runs[:5]] == [
        "digits-mlp--tesla--linear--3", "digits-mlp--idp--step--3", "mnist-mlp--tesla--linear--3",
        "mnist-mlp--idp--step--3", "digits-mlp--tesla--linear--4",
    ]  # fmt: skip
    assert runs[1].recipe.algorithm == "idp" and runs[1].recipe.stopping.max_epochs == 1
    with pytest.raises(ConfigError, match="cannot train its profile"):
        plan(["digits-mlp"], [Row("mp-idp", "trainable")], (0,), ())
    twin = tmp_path / "twin.toml"
    twin.write_text('name = "digits-mlp"\n[network]\nkind = "mlp"\nhidden = []\nscalable = []\n')
    with pytest.raises(ConfigError, match="same name"):
        plan(["digits-mlp", str(twin)], rows, (0,), ())


def test_rows_are_summed_up_over_seeds() -> None:
    found = row()
    assert found.mean == pytest.approx({10: 0.6, 100: 0.95})
    assert found.sd == pytest.approx({10: 0.02**0.5, 100: 0.005**0.5})
    assert found.mean_accuracy == pytest.approx(0.775)
    assert found.mean_accuracy_sd == pytest.approx(0.01125**0.5)
    alone = row("x", result(0.5, 1.0))
    assert alone.sd == {} and alone.mean_accuracy_sd is None


def test_markdown_has_every_row_and_says_where_costs_differ() -> None:
    reference = read_reference("mnist-mlp")[0]
    rows = [row(), row("other", result(0.5, 0.9, macs=60)), reference]
    text = markdown(Comparison(tool_version="1", command="cmd", data="d", dps=[10, 100], rows=rows))
    assert "| tesla, linear | measured | 2 | 7 | 77.50 ± 10.61 | 60.00 ± 14.14 |" in text
    assert "| 10 | 50 | 25.0% | 60.00 ± 14.14 | 50.00\\* |" in text
    assert "\\* at a cost other" in text and "## mnist-mlp" in text and "    cmd\n" in text


def test_figures_are_the_same_for_the_same_rows() -> None:
    rows = [row(), *(reference for reference in read_reference("mnist-mlp") if reference.mean)]
    text = draw(rows, "net")
    assert text == draw(rows, "net")
    ET.fromstring(text)
    assert "tesla, linear" in text and "IDP, linear (paper)" in text


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "recipe"),
        ('recipe = "a"\nsource = "b"\nrow = 3\n', "row"),
        ('recipe = "a"\nsource = "b"\n[[row]]\nlabel = "c"\naccuracy = { 0 = 1 }\n', "percentage"),
        ('recipe = "a"\nsource = "b"\n[[row]]\nlabel = "c"\naccuracy = { x = 1 }\n', "invalid"),
        ('recipe = "a"\nsource = "b"\n[[row]]\nlabel = "c"\nmeen = 3\n', "meen"),
        ("\x00", "cannot be used"),
    ],
)
def test_bad_references(tmp_path: Path, content: str, word: str) -> None:
    path = tmp_path / "reference.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=word):
        read_reference(str(path))
    with pytest.raises(ConfigError, match="use cifar10-vgg16, mnist-mlp or a path"):
        read_reference("nothing")


def test_a_reference_needs_its_recipe(tmp_path: Path) -> None:
    study = Study(
        recipes=["digits-mlp"], rows=[Row("idp", "linear")], seeds=[0], dps=[100], data="digits",
        references=["mnist-mlp"],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="recipe mnist-mlp, which is not compared"):
        compare(study, tmp_path, 1, nobody)
    assert not list(tmp_path.iterdir())


def test_a_comparison_is_written_and_finished_runs_are_skipped(tmp_path: Path) -> None:
    study = Study(
        recipes=["digits-mlp"], rows=[Row("tesla", "linear"), Row("idp", "linear")], seeds=[0],
        dps=[30, 100], data="digits", overrides=TINY,
    )  # fmt: skip
    assert study.command() == (
        "tesla-embed compare digits-mlp --data digits --row tesla:linear --row idp:linear "
        "--seeds 0 --dp 30,100 --set 'hidden=[8]' --set max_epochs=1 --set 'tasks=[100, 30]' "
        "--set batch=512 --out DIR"
    )
    grid = Study(recipes=["a"], rows=[], seeds=[0, 1], dps=[10, 15, 20], data="idx:/home/me")
    assert grid.command().endswith("--data idx:DIR --seeds 0,1 --dp 10-20/5 --out DIR")
    first = compare(study, tmp_path, 2, nobody)
    assert [one.label for one in first.rows] == ["tesla, linear", "idp, linear"]
    assert first.rows[0].macs == {30: 74 * 3, 100: 74 * 8}
    names = ("compare.json", "compare.md", "digits-mlp.svg")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    assert json.loads(before["compare.json"])["schema"] == "tesla-embed/compare/1"
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    assert compare(study, tmp_path, 2, nobody) == first
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    assert before == {name: (tmp_path / name).read_bytes() for name in names}


def test_the_others_are_summed_up_when_one_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that failed says which it is and why."""
    folder = tmp_path / "digits-mlp--idp--linear--0"
    folder.mkdir()
    (folder / "checkpoint.safetensors").write_bytes(b"nothing")
    (folder / RESULT_NAME).write_text("{}")
    assert read_run(folder / RESULT_NAME) is None
    words: list[object] = ["digits-mlp", "--data", "digits", "--dp", "30,100", "--out", tmp_path]
    words += ["--jobs", "1", *(word for text in TINY for word in ("--set", text))]
    rows = ("--row", "idp:linear", "--row", "tesla:linear")
    assert call("compare", *words, *rows) == 1
    shown = capsys.readouterr()
    why = r"failed: run digits-mlp--idp--linear--0: .*truncated or damaged"
    assert re.search(why, " ".join(shown.err.split())) and "tesla, linear" in shown.out
    found = json.loads((tmp_path / "compare.json").read_text())
    assert [row["label"] for row in found["rows"]] == ["tesla, linear"] and len(
        found["failed"]
    ) == 1
    assert "Missing, because they failed" in (tmp_path / "compare.md").read_text()
    assert call("compare", *words, "--row", "idp:linear") == 2


def test_ctrl_c_leaves_checkpoints_and_no_processes(tmp_path: Path) -> None:
    arguments = ["compare", "digits-mlp", "--data", "digits", "--row", "idp:linear"]
    arguments += ["--out", str(tmp_path), "--jobs", "1", "--set", "patience=100000"]
    arguments += ["--set", "max_epochs=100000", "--set", "hidden=[8]"]
    program = f"""
import signal, sys
from tesla_host.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts without
sys.argv[1:] = {arguments!r}
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, start_new_session=True
    )
    checkpoint = tmp_path / "digits-mlp--idp--linear--0" / "checkpoint.safetensors"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and children
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and b"Traceback" not in errors
    assert checkpoint.exists()
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:  # what multiprocessing leaves behind goes by itself
            os.killpg(process.pid, 0)
            time.sleep(0.05)
