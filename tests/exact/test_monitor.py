"""`monitor`: what it shows of a board, on a terminal and in a pipe, and when the board is lost."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boards import PtyBoard
from conftest import require, tools_of
from graphs import RICH, int8_inputs, quantized_model
from shell import call

from tesla_embed.errors import DeviceError, WrongFirmware
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.store import save_model
from tesla_host.cli.keys import NEXT, PREVIOUS, split_keys
from tesla_host.cli.monitor import _Course, _print_lines
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.pipes import ProcessPipe
from tesla_host.monitor import Back, Lost, Monitor, p95
from tesla_host.stations import expected_model
from tesla_host.targets import find_target, open_target
from tesla_host.workbench import make_firmware

Capture = pytest.CaptureFixture[str]
MODEL = quantized_model(RICH)
DPS = [region.dp for region in MODEL.regions]
EXPECTED = expected_model(MODEL)
INPUTS = int8_inputs(MODEL, 1, 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("monitor")
    save_model(path / "m.safetensors", MODEL)
    return path


@pytest.fixture(scope="module")
def elf(folder: Path) -> Path:
    require(lambda: tools_of("host"))
    return make_firmware(MODEL, find_target("host"), folder / "host").build.elf


@pytest.fixture
def board(elf: Path, tmp_path: Path) -> Iterator[PtyBoard]:
    made = PtyBoard(elf, tmp_path / "ttyACM0")
    yield made
    made.close()


def answers(dp: int) -> list[int]:
    """The classes that the model gives for `INPUTS`."""
    outputs = interpret(MODEL, MODEL.region(dp), INPUTS)
    return [int(output.argmax()) for output in outputs.reshape(len(INPUTS), -1)]


def watch(elf: Path, classes: Sequence[int] | None) -> Monitor:
    def connect() -> LinkClient:
        return LinkClient(open_target("host", elf), EXPECTED)

    return Monitor(connect, [x.tobytes() for x in INPUTS], classes, DPS)


def test_accuracy_is_of_the_runs_so_far_in_each_region(elf: Path) -> None:
    right = answers(DPS[-1])
    classes = [right[0], right[1], *(value + 1 for value in right[2:])]
    watched = watch(elf, classes)
    watched.move(-1)
    assert watched.dp == DPS[-1]
    for count in range(1, 13):  # the inputs go round twice
        assert watched.step() is None
        found = watched.reading(DPS[-1])
        whole, part = divmod(count, len(INPUTS))
        assert found.runs == count
        assert found.accuracy == (2 * whole + min(part, 2)) / count
    assert watched.reading(DPS[0]).runs == 0 and watched.reading(DPS[0]).accuracy is None
    watched.close()


def test_the_target_counts_what_a_profile_counts(folder: Path) -> None:
    require(lambda: tools_of("emulator"))
    row = find_target("emulator")
    made = make_firmware(MODEL, row, folder / "emulator").build.elf
    watched = Monitor(
        lambda: LinkClient(open_target("emulator", made), EXPECTED),
        [INPUTS[0].tobytes()],
        None,
        DPS,
    )
    for _ in range(3):
        watched.step()
    found = watched.reading(DPS[0])
    with LinkClient(open_target("emulator", made), EXPECTED) as client:
        client.set_dp(DPS[0])
        (inference,) = client.infer_many([INPUTS[0].tobytes()])
    assert found.instructions == inference.ticks["instructions"]
    assert found.median_us == 1e6 * inference.ticks["cycles"] / row.clock_hz
    assert found.last_us == found.median_us == found.p95_us
    assert found.accuracy is None and found.per_second is not None and found.per_second > 0
    watched.close()


def test_p95_is_no_mean_of_neighbours() -> None:
    assert p95([3.0]) == 3.0
    assert p95(list(map(float, range(1, 101)))) == 95.0
    assert p95([5.0, 1.0, 2.0]) == 5.0


def test_a_lost_board_is_opened_again(elf: Path) -> None:
    pipes: list[ProcessPipe] = []

    def connect() -> LinkClient:
        if len(pipes) == 2:
            pipes.append(pipes[-1])
            raise DeviceError("cannot open it")
        pipes.append(ProcessPipe([str(elf)]))
        return LinkClient(pipes[-1], EXPECTED)

    watched = Monitor(connect, [INPUTS[0].tobytes()], None, DPS)
    assert watched.step() is None
    for _ in range(2):
        pipes[-1]._process.kill()
        news = watched.step()
        assert isinstance(news, Lost)
        news = watched.step()
        if isinstance(news, Lost):
            assert news.reason == "cannot open it"
            news = watched.step()
        assert isinstance(news, Back)
        assert watched.step() is None
    assert watched.reading(DPS[0]).runs == 3
    watched.close()


def test_another_board_in_its_place_is_refused(elf: Path) -> None:
    digests = [EXPECTED.digest, bytes(32)]

    def connect() -> LinkClient:
        expected = ExpectedModel(name=MODEL.name, digest=digests.pop(0))
        pipes.append(ProcessPipe([str(elf)]))
        return LinkClient(pipes[-1], expected)

    pipes: list[ProcessPipe] = []
    watched = Monitor(connect, [INPUTS[0].tobytes()], None, DPS)
    pipes[0]._process.kill()
    assert isinstance(watched.step(), Lost)
    with pytest.raises(WrongFirmware):
        watched.step()


def test_a_board_that_is_refused_at_once_is_closed(elf: Path) -> None:
    """Regression: nobody held the connection, and the emulator or the port stayed open."""
    pipes: list[ProcessPipe] = []

    def connect() -> LinkClient:
        pipes.append(ProcessPipe([str(elf)]))
        return LinkClient(pipes[-1], ExpectedModel(name=MODEL.name, digest=bytes(32)))

    with pytest.raises(WrongFirmware):
        Monitor(connect, [INPUTS[0].tobytes()], None, DPS)
    (pipe,) = pipes
    assert pipe._process.poll() is not None


def lines(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert all(line["schema"] == "tesla-embed/monitor/1" for line in found)
    return found


def test_once_prints_a_line_for_each_region(folder: Path, board: PtyBoard, capsys: Capture) -> None:
    words = (folder / "m.safetensors", "--port", board.path, "--once", "--cycle", 4)
    assert call("monitor", *words) == 0
    found = lines(capsys.readouterr().out)
    assert [(line["event"], line["dp"], line["runs"]) for line in found] == [
        ("reading", dp, 4) for dp in DPS
    ]
    assert call("monitor", *words, "--json", "--dp", DPS[0]) == 0
    assert [line["dp"] for line in lines(capsys.readouterr().out)] == [DPS[0]]


@pytest.mark.parametrize(("dps", "printed"), [(DPS[:1], 1), (DPS[:2], 25)])
def test_a_region_that_stays_is_told_no_more_often_than_asked(
    elf: Path, dps: list[int], printed: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one region, each end of its cycle was a line."""

    def connect() -> LinkClient:
        return LinkClient(open_target("host", elf), EXPECTED)

    with contextlib.closing(Monitor(connect, [INPUTS[0].tobytes()], None, dps)) as watched:
        course = _Course(cycle=2, once=False, regions=len(dps))
        step, ran = Monitor.step, 0

        def counted(self: Monitor) -> Lost | Back | None:
            nonlocal ran
            ran += 1
            course.ended = ran == 50
            return step(self)

        monkeypatch.setattr(Monitor, "step", counted)
        _print_lines(watched, course, every=1000.0)
    assert ran == 50 and len(lines(capsys.readouterr().out)) in (printed, printed + 1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--port", "/dev/none", "--once"), 3, "/dev/none"),
        (("--target", "abacus"), 2, "unknown target"),
        (("--dp", "33"), 2, "is not a region"),
        (("--json", "lines.json"), 2, "takes no file; redirect them: > lines.json"),
    ],
)
def test_mistakes(
    folder: Path, capsys: Capture, words: tuple[str, ...], code: int, says: str
) -> None:
    assert call("monitor", folder / "m.safetensors", *words) == code
    shown = capsys.readouterr()
    assert says in shown.err and shown.out == ""


def command(folder: Path, *words: object) -> list[str]:
    return [
        *(sys.executable, "-m", "tesla_host", "monitor", str(folder / "m.safetensors")),
        *map(str, words),
    ]


@contextlib.contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator[None]:
    """A process that does not outlive a test that fails."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()


def test_an_unplugged_board_is_said_and_found_again(folder: Path, board: PtyBoard) -> None:
    words = ("--port", board.path, "--every", 0.05, "--cycle", 5)
    with (
        subprocess.Popen(
            command(folder, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        ending(process),
    ):
        assert process.stdout is not None
        seen: list[dict[str, Any]] = []

        def until(event: str) -> None:
            deadline = time.monotonic() + 60
            while not seen or seen[-1]["event"] != event:
                left = deadline - time.monotonic()
                assert left > 0 and select.select([process.stdout], [], [], left)[0], seen
                line = process.stdout.readline() if process.stdout else ""
                assert line, process.communicate()[1]
                seen.extend(lines(line))

        until("reading")
        board.unplug(reset=True)
        until("lost")
        assert "ttyACM0" in seen[-1]["reason"]
        board.plug_in()
        until("back")
        until("reading")
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in messages
    assert [line["event"] for line in seen].count("lost") == 1
    runs = [line["runs"] for line in seen if line["event"] == "reading" and line["dp"] == DPS[0]]
    assert runs == sorted(runs)


class Terminal:
    """A pseudo-terminal with `monitor` on it."""

    def __init__(self, words: list[str]) -> None:
        self._master, self._slave = pty.openpty()
        termios.tcsetwinsize(self._slave, (40, 120))
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            words,
            stdin=self._slave,
            stdout=self._slave,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
            start_new_session=True,
        )
        self.shown = ""

    def until(self, pattern: str) -> None:
        """Read on until the pattern appears in what is shown from now on."""
        self.shown, deadline = "", time.monotonic() + 30
        while not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, self.shown[-2000:]
            if select.select([self._master], [], [], 0.1)[0]:
                got = os.read(self._master, 65536).decode(errors="replace")
                self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", got)

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def end(self) -> int:
        """The exit code; the terminal is as it was."""
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._master], [], [], 0.1)[0]:
                os.read(self._master, 65536)
        code = self.process.wait(timeout=1)
        assert termios.tcgetattr(self._slave) == self.before
        assert self.process.stderr is not None
        assert "Traceback" not in self.process.stderr.read().decode()
        self.process.stderr.close()
        os.close(self._master)
        os.close(self._slave)
        return code


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(folder: Path, board: PtyBoard) -> Iterator[Open]:
    opened: list[Terminal] = []

    def open_(*words: object) -> Terminal:
        opened.append(Terminal(command(folder, "--port", board.path, *words)))
        return opened[-1]

    yield open_
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_keys_change_the_region_on_a_terminal(terminal: Open) -> None:
    screen = terminal("--cycle", 1_000_000)
    screen.until("per second")
    screen.until(rf"> +{DPS[0]} +\d")
    screen.press(b"n")
    screen.until(rf"> +{DPS[1]} +\d[\s\S]*holding")
    screen.press(b"\x1b[D")
    screen.until(rf"> +{DPS[0]} +\d")
    screen.press(b" ")
    screen.until("paused")
    screen.press(b"n")  # nothing runs, the mark moves all the same
    screen.until(rf"> +{DPS[1]} +\d[\s\S]*paused")
    (runs,) = re.findall(rf"> +{DPS[1]} +([\d,]+)", screen.shown)[-1:]
    screen.press(b"p")
    screen.until(rf"> +{DPS[0]} +\d[\s\S]*paused")
    assert re.findall(rf" {DPS[1]} +([\d,]+)", screen.shown)[-1] == runs
    screen.press(b" ")
    screen.until("holding")
    screen.press(b"q")
    assert screen.end() == 0


def test_ctrl_c_gives_the_terminal_back(terminal: Open) -> None:
    screen = terminal("--cycle", 3)
    screen.until("cycling")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130


def test_a_lost_board_is_said_on_the_terminal(terminal: Open, board: PtyBoard) -> None:
    screen = terminal()
    screen.until("cycling")
    board.unplug(reset=False)
    screen.until("lost: ")
    board.plug_in()
    screen.until("was lost 1 x")
    screen.press(b"q")
    assert screen.end() == 0


def test_what_keys_send() -> None:
    assert split_keys(b"nq") == ["n", "q"]
    assert split_keys(b"\x1b[C\x1b[D\x1b[Aq") == [NEXT, PREVIOUS, PREVIOUS, "q"]
    assert split_keys(b"\x1b[5~n") == ["~", "n"]
    assert split_keys(np.random.default_rng(1).bytes(1000)) is not None
