"""Several processes under torchrun, as the documentation starts them, against one process."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tesla_embed.data import load_data
from tesla_embed.train.log import LOG_NAME
from tesla_embed.train.loop import MODEL_NAME, train
from tesla_embed.train.recipe import load_recipe

COMMON = ["max_epochs=2", "tasks=[100, 40]", "validation=0.2", "device=cpu"]
MLP = [*COMMON, "hidden=[12]", "scalable=[true]"]
RESNET = [
    *COMMON, "network.width=0.25", "batch_norm.samples=100", "batch_norm.rows=[40, 100]",
    "augmentation.crop=1",
]  # fmt: skip
# What the processes do differently: they add up gradients in another order, which shows in the
# last digits, and batch norm normalises with each process's own half of the batch, whose mean and
# variance scatter around those of the whole. Half the batch in one process, the mistake that would
# look most alike, is off by several times that.
CASES = [("digits-mlp", MLP, 2e-4), ("cifar10-resnet8", RESNET, 1e-2)]


def curve(folder: Path, name: str) -> list[float]:
    with (folder / LOG_NAME).open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def torchrun(count: int, *arguments: str) -> None:
    """The command of docs/training.md; a free port, and no advice about threads."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "tesla_host", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("mean accuracy") == 1, "one process reports"


@pytest.mark.parametrize(("name", "changes", "tolerance"), CASES)
def test_two_processes_are_one_with_a_doubled_batch(
    tmp_path: Path, name: str, changes: list[str], tolerance: float
) -> None:
    two = tmp_path / "two"
    options = [word for change in [*changes, "batch=64"] for word in ("--set", change)]
    torchrun(2, "train", name, "--data", "digits", "--out", str(two), *options)
    data = load_data("digits")
    for batch in (128, 64):
        train(load_recipe(name, [*changes, f"batch={batch}"]), data, tmp_path / str(batch))
    assert len(curve(two, "loss")) == 4
    for column in ("loss", "objective"):
        doubled, same = (curve(tmp_path / folder, column) for folder in ("128", "64"))
        assert curve(two, column) == pytest.approx(doubled, rel=tolerance), column
        assert curve(two, column) != pytest.approx(same, rel=3 * tolerance), "this can fail"
    assert curve(two, "accuracy") == pytest.approx(curve(tmp_path / "128", "accuracy"), abs=0.03)
    assert {entry.name for entry in two.iterdir()} >= {MODEL_NAME, LOG_NAME}
