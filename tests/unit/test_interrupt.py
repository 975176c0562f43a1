"""Ctrl-C at any time, once or more often: one word, and the code 130."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tesla_host.interrupt import was_interrupted

PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts without
from tesla_host.__main__ import main
assert "tesla_host.cli" not in sys.modules, "loaded where Ctrl-C has no answer yet"
print("here", flush=True)
main()
"""


def start(*words: object) -> "subprocess.Popen[str]":
    """The command line, just before it begins to load."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    return process


@pytest.mark.parametrize("presses", [1, 20])
@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.25])
def test_while_the_program_loads(after_s: float, presses: int) -> None:
    """Each of these was once a traceback of some import."""
    process = start("train", "digits-mlp", "--data", "digits", "--out", "/dev/null/never")
    time.sleep(after_s)
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (130, "", "interrupted\n")


def test_a_burst_ends_no_other_way(tmp_path: Path) -> None:
    """Later presses used to end the process by the signal, after it had said its word."""
    words = ("--data", "digits", "--out", tmp_path, "--set", "max_epochs=100000", "--json")
    process = start("train", "digits-mlp", *words, "--set", "hidden=[8]")
    deadline = time.monotonic() + 60
    while not (tmp_path / "checkpoint.safetensors").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        time.sleep(0.0005)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.count("interrupted") == 1
    assert "Traceback" not in errors


def test_an_interrupt_that_a_library_hides() -> None:
    assert was_interrupted(KeyboardInterrupt()) and not was_interrupted(ValueError())
    hidden = ImportError("no module of that name")
    hidden.__context__ = KeyboardInterrupt()
    assert was_interrupted(hidden)
