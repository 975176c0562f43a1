"""The command `train` as a process that the system kills without warning, at random moments."""

import csv
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tesla_embed.train.log import LOG_NAME
from tesla_embed.train.loop import CHECKPOINT_NAME, MODEL_NAME

# Wide enough that a checkpoint, of some 20 MB, takes a while to write.
CHANGES = (
    "hidden=[800, 800]", "scalable=[true, true]", "max_epochs=4", "patience=4", "tasks=[100, 30]",
    "batch=256",
)  # fmt: skip
EPOCHS = 8
TIMEOUT_S = 240.0


def start(folder: Path) -> subprocess.Popen[bytes]:
    changes = [word for change in CHANGES for word in ("--set", change)]
    command = ["train", "digits-mlp", "--data", "digits", "--out", str(folder), *changes]
    return subprocess.Popen(
        [sys.executable, "-m", "tesla_host", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG_NAME).open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


def lines(folder: Path) -> int:
    return (folder / LOG_NAME).read_bytes().count(b"\n") if (folder / LOG_NAME).exists() else 0


def kill_when(folder: Path, reached: Callable[[], bool], delay_s: float = 0.0) -> None:
    """Start, or go on, and kill without warning `delay_s` after `reached` has come true."""
    process = start(folder)
    try:
        end = time.monotonic() + TIMEOUT_S
        while not reached():
            assert process.poll() is None, "the run ended before the moment to kill it"
            assert time.monotonic() < end
        time.sleep(delay_s)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("seed", [0])
def test_a_run_killed_twice_ends_with_the_same_bits(tmp_path: Path, seed: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).wait(TIMEOUT_S) == 0
    mean_s = sum(
        float(row["seconds"]) for row in csv.DictReader((whole / LOG_NAME).open())
    ) / len(rows(whole))  # fmt: skip
    rng = random.Random(seed)
    moments = [rng.randint(first, first + 2) for first in (1, 4)]
    writing = rng.randrange(2)
    for index, epochs in enumerate(moments):

        def reached(after: int = epochs + 1, while_writing: bool = index == writing) -> bool:
            """`after` lines: a heading and the epochs."""
            enough = lines(killed) >= after
            return enough and (bool(parts(killed)) or not while_writing)

        delay_s = 0.0 if index == writing else rng.uniform(0, mean_s)
        kill_when(killed, reached, delay_s)
        assert epochs <= lines(killed) - 1 < EPOCHS
    assert start(killed).wait(TIMEOUT_S) == 0
    assert (killed / MODEL_NAME).read_bytes() == (whole / MODEL_NAME).read_bytes()
    assert rows(killed) == rows(whole) and len(rows(whole)) == EPOCHS
    assert {entry.name for entry in killed.iterdir()} == {CHECKPOINT_NAME, LOG_NAME, MODEL_NAME}
