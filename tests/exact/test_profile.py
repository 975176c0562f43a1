"""`profile` interrupted, continued, shared and compared, through the command line."""

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from boards import PtyBoard
from conftest import require
from shell import call

from tesla_embed.ir.store import load_model
from tesla_host.compilers import find_compiler
from tesla_host.isolated import separate_link
from tesla_host.link import client, ports
from tesla_host.link.session import Patience

SAMPLES = 60
MANY = 300
"""Samples of a run that must not be over too soon."""
REGIONS = [25, 50, 100]
LINES, MANY_LINES = (1 + len(REGIONS) * (count + 1) for count in (SAMPLES, MANY))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, its builds for emulator and host, and the emulator's uninterrupted profile."""
    require(lambda: find_compiler("zig"))
    require(lambda: importlib.import_module("unicorn"))
    out = tmp_path_factory.mktemp("profile")
    arguments = ["--set", "max_epochs=1", "--device-samples", "1", "--regions", "25,50,100"]
    assert call("demo", "--recipe", "digits-mlp", "--out", out, *arguments) == 0
    assert call("profile", *common(out), "--json", out / "whole.json") == 0
    return out


@pytest.fixture(scope="module")
def many(folder: Path) -> Path:
    """The uninterrupted profile of `MANY` samples."""
    out = folder / "many.json"
    assert call("profile", *common(folder), "--device-samples", MANY, "--json", out) == 0
    return out


def common(folder: Path, build: str = "build") -> list[str]:
    arguments = [str(folder / "model.safetensors"), "--data", "digits"]
    return [*arguments, "--device-samples", str(SAMPLES), "--build-dir", str(folder / build)]


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def settled(path: Path) -> bytes:
    """A profile without what this computer's clock says, which differs each time."""
    before, found, _ = path.read_bytes().rpartition(b',\n  "throughput": ')
    assert found
    return before


def interrupted(arguments: list[str], file: Path, lines: int, number: int) -> int:
    """Run `profile` and signal it when its results have so many lines; its exit status."""
    command = [sys.executable, "-m", "tesla_host", "profile", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if file.exists() and file.read_bytes().count(b"\n") >= lines:
            process.send_signal(number)
            break
        time.sleep(0.001)
    return process.wait(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_at_random_the_result_is_the_same(
    folder: Path, many: Path, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "p.json"
    partial = tmp_path / "p.json.partial"
    arguments = [*common(folder), "--device-samples", str(MANY), "--json", str(out)]
    draw = random.Random(number)
    for at in sorted(draw.sample(range(1, LINES - 20), 2)):
        status = interrupted(arguments, partial, at, number)
        assert status == (-number if number == signal.SIGKILL else 130)
        assert not out.exists() and at <= partial.read_bytes().count(b"\n") < MANY_LINES
    assert call("profile", *arguments) == 0
    assert settled(out) == settled(many)
    assert not partial.exists()


def children(pid: int) -> set[int]:
    """The processes that a process has started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for each in lists for child in each.read_text().split()}


def test_ctrl_c_at_a_terminal_says_one_word_and_leaves_no_process(
    folder: Path, tmp_path: Path
) -> None:
    """The emulators of several boards are processes, and used to print tracebacks of their own."""
    out = tmp_path / "p.json"
    arguments = [*common(folder), "--device-samples", str(MANY), "--boards", "2", "--json", out]
    command = [sys.executable, "-m", "tesla_host", "profile", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    partial, deadline = tmp_path / "p.json.partial", time.monotonic() + 120
    while not (partial.exists() and partial.read_bytes().count(b"\n") > 20):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    emulators = children(process.pid)
    assert len(emulators) == 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    said = [line for line in errors.decode().splitlines() if "samples" not in line]
    assert (process.returncode, said[-1:]) == (130, ["interrupted"])
    assert "Traceback" not in errors.decode()
    assert not any(Path(f"/proc/{child}").exists() for child in emulators)


def test_an_emulator_in_a_process_of_its_own_ignores_ctrl_c(folder: Path) -> None:
    model = load_model(folder / "model.safetensors")
    data = bytes(model.regions[-1].types[model.graph.input].bytes)
    before = children(os.getpid())
    with separate_link("emulator", folder / "build" / "firmware.elf") as linked:
        linked.set_dp(REGIONS[-1])
        (emulator,) = children(os.getpid()) - before
        done = threading.Event()

        def press() -> None:
            while not done.wait(0.001):
                os.kill(emulator, signal.SIGINT)

        pressing = threading.Thread(target=press)
        pressing.start()
        try:
            assert len(list(linked.infer_many([data] * 100))) == 100
        finally:
            done.set()
            pressing.join()


def test_a_finished_file_of_results_is_not_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = tmp_path / "r.jsonl", tmp_path / "p.json"
    arguments = [*common(folder), "--json", out, "--results", file]
    assert call("profile", *arguments) == 0
    content = file.read_bytes()
    assert content.count(b"\n") == LINES
    monkeypatch.setattr("tesla_host.link.client.LinkClient.infer_many", None)
    assert call("profile", *arguments) == 0
    assert file.read_bytes() == content
    assert read(out)["throughput"] is None
    assert settled(out) == settled(folder / "whole.json")


@pytest.mark.parametrize(
    ("changed", "words"),
    [(["--device-samples", "7"], "other samples"), (["--runs", "2"], "number of runs")],
)
def test_results_of_another_profile_are_refused(
    folder: Path,
    tmp_path: Path,
    changed: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "r.jsonl"
    arguments = [*common(folder), "--regions", "25", "--results", file]
    assert call("profile", *arguments) == 0
    content = file.read_bytes()
    assert call("profile", *arguments, *changed) == 2
    assert words in capsys.readouterr().err
    assert file.read_bytes() == content
    file.write_bytes(content.replace(b"instructions", b"instructionz", 1))
    assert call("profile", *arguments) == 2
    assert "no measurements of ours" in capsys.readouterr().err


def test_every_sample_runs_as_often_as_asked(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    assert call("profile", *common(folder), "--runs", "3", "--json", out) == 0
    whole, again = read(folder / "whole.json"), read(out)
    assert again.pop("runs") == 3 and whole.pop("runs") == 1
    rate = again.pop("throughput")
    assert rate["samples"] == whole.pop("throughput")["samples"] == SAMPLES * len(REGIONS)
    assert rate["boards"] == 1
    assert rate["samples_per_second"] == pytest.approx(rate["samples"] / rate["seconds"])
    assert again == whole  # the emulator counts the same each time


def test_figures_agree_with_each_other(folder: Path) -> None:
    profile = read(folder / "whole.json")
    memory = profile["memory"]
    assert memory["ram_high_water_bytes"] == memory["ram_bytes"] + memory["stack_bytes"]
    assert 100 < memory["library_stack_bytes"] < memory["stack_bytes"]  # through pointers, too
    for region in profile["regions"]:
        counts, latency = region["instructions"], region["latency"]
        assert counts["min"] <= counts["median"] <= counts["p95"] <= counts["max"]
        assert latency["min"] <= latency["median"] <= latency["p95"] <= latency["max"]
        assert latency["median"] == region["latency_us"]
        assert counts["min"] <= region["first_instructions"] <= counts["max"]
        assert 0 < region["switch_us"] < 1 and region["device_samples"] == SAMPLES
        layers = sum(layer["latency_us"] for layer in region["layers"])
        assert 0.9 * latency["min"] < layers <= latency["max"]


@pytest.mark.parametrize("boards", [2, 4])
def test_several_boards_give_what_one_gives(
    folder: Path, tmp_path: Path, boards: int, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.json"
    assert call("profile", *common(folder), "--boards", boards, "--json", out) == 0
    assert f"samples per second by {boards} boards, 180 in " in capsys.readouterr().out
    assert read(out)["throughput"]["boards"] == boards
    assert settled(out) == settled(folder / "whole.json")


@pytest.fixture
def two(folder: Path, tmp_path: Path) -> Iterator[list[PtyBoard]]:
    elf = folder / "build" / "host" / "firmware.elf"
    boards = [PtyBoard(elf, tmp_path / f"ttyACM{i}") for i in range(2)]
    yield boards
    for board in boards:
        board.close()


def outputs(file: Path) -> dict[tuple[int, int], str]:
    records = [json.loads(line)["record"] for line in file.read_text().splitlines()]
    return {(r["dp"], r["index"]): r["output"] for r in records if r["type"] == "sample"}


def test_ports_that_are_named_or_found(
    folder: Path, tmp_path: Path, two: list[PtyBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    named, found = tmp_path / "named.jsonl", tmp_path / "found.jsonl"
    names = [argument for board in two for argument in ("--port", str(board.path))]
    assert call("profile", *common(folder), *names, "--results", named) == 0
    listed = [SimpleNamespace(device=str(b.path), hwid="USB", serial_number=None) for b in two]
    monkeypatch.setattr(ports.list_ports, "comports", lambda: listed)
    assert call("profile", *common(folder), "--port", "auto", "--results", found) == 0
    assert outputs(named) == outputs(found) and len(outputs(named)) == len(REGIONS) * SAMPLES


def unplug_later(boards: list[PtyBoard], file: Path) -> None:
    """Unplug boards when the file of results has grown for a while."""
    while not file.exists() or file.read_bytes().count(b"\n") < 30:
        time.sleep(0.001)
    for board in boards:
        board.unplug(reset=True)


@pytest.mark.parametrize("victims", [1, 2])
def test_a_board_that_is_lost_loses_no_sample(
    folder: Path,
    tmp_path: Path,
    two: list[PtyBoard],
    victims: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def impatient(**options: Any) -> Patience:
        return Patience(**{**options, "replug_s": 0.2})

    monkeypatch.setattr(client, "Patience", impatient)
    file = tmp_path / "r.jsonl"
    names = [argument for board in two for argument in ("--port", str(board.path))]
    names += ["--device-samples", str(MANY)]
    unplug = threading.Thread(target=unplug_later, args=(two[:victims], file))
    unplug.start()
    status = call("profile", *common(folder), *names, "--results", file)
    unplug.join()
    errors = capsys.readouterr().err
    if victims == 1:
        assert status == 0 and f"lost serial:{two[0].path}" in errors
        assert len(outputs(file)) == len(REGIONS) * MANY
        return
    assert status == 3 and "all 2 boards are lost" in errors and f"kept in {file}" in errors
    assert 20 < len(outputs(file)) < len(REGIONS) * MANY
    for board in two:
        board.plug_in()
    assert call("profile", *common(folder), *names, "--results", file) == 0
    assert len(outputs(file)) == len(REGIONS) * MANY
