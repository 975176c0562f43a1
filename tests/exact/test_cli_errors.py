"""Whatever a user gets wrong: one line that says what to do, the documented code, nothing left."""

import json
import os
import pty
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from graphs import RICH, quantized_model
from shell import call

from tesla_embed.ir.store import save_model
from tesla_host.link import session
from tesla_host.link.client import LinkClient


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, quantized_model(RICH))
    return path


def fails(capsys: pytest.CaptureFixture[str], code: int, says: str, *arguments: object) -> None:
    """The command ends with `code` and one line of error that contains `says`."""
    capsys.readouterr()
    assert call(*arguments) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]


Capture = pytest.CaptureFixture[str]


def test_missing_model(tmp_path: Path, capsys: Capture) -> None:
    fails(capsys, 2, "check the path", "generate", tmp_path / "none", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_truncated_model(model: Path, tmp_path: Path, capsys: Capture, keep: int) -> None:
    damaged = tmp_path / "m.safetensors"
    damaged.write_bytes(model.read_bytes()[:keep])
    fails(capsys, 2, "truncated or damaged", "generate", damaged, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_corrupted_model(model: Path, tmp_path: Path, capsys: Capture) -> None:
    damaged = tmp_path / "m.safetensors"
    damaged.write_bytes(
        model.read_bytes().replace(b"Reshape", b"Reshapo").replace(b"conv", b"conw", 1)
    )
    fails(capsys, 2, "m.safetensors", "generate", damaged, "--out", tmp_path / "out")


def test_foreign_folder_is_not_replaced(model: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    fails(capsys, 2, "choose an empty or a new --out", "generate", model, "--out", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("dp", "says"),
    [
        ("0", "out of range"),
        ("101", "out of range"),
        ("33", "is not a region"),
        ("x", "percentage"),
    ],
)
def test_regions_that_do_not_exist(model: Path, capsys: Capture, dp: str, says: str) -> None:
    fails(capsys, 2, says, "profile", model, "--data", "digits", "--regions", dp)


def test_data_of_another_shape(model: Path, tmp_path: Path, capsys: Capture) -> None:
    for part in ("train", "test"):
        np.savez(tmp_path / f"{part}.npz", x=np.zeros((4, 3), np.uint8), y=np.arange(4) % 2)
    fails(capsys, 2, "use the data set", "profile", model, "--data", f"npz:{tmp_path}")


def test_only_the_test_part_is_judged_where_only_that_is_used(
    model: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The train part has one class only; what is wrong is the shape of the test part."""
    for part, y in (("train", np.zeros(4, int)), ("test", np.arange(4) % 2)):
        np.savez(tmp_path / f"{part}.npz", x=np.zeros((4, 3), np.uint8), y=y)
    for verb in ("profile", "monitor"):
        fails(capsys, 2, "use the data set", verb, model, "--data", f"npz:{tmp_path}")


def test_missing_data(model: Path, tmp_path: Path, capsys: Capture) -> None:
    fails(capsys, 2, "directory", "profile", model, "--data", f"idx:{tmp_path / 'none'}")


def test_unknown_target(model: Path, capsys: Capture) -> None:
    fails(capsys, 2, "`tesla-embed targets` lists", "verify", model, "--target", "abacus")


def test_a_float_checkpoint_is_no_model(tmp_path: Path, capsys: Capture) -> None:
    from tesla_embed.data import load_data
    from tesla_embed.train.loop import train
    from tesla_embed.train.recipe import load_recipe

    result = train(load_recipe("digits-mlp", ["max_epochs=1"]), load_data("digits"), tmp_path)
    fails(capsys, 2, "quantize", "generate", result.path, "--out", tmp_path / "out")


def test_unplugged_board(model: Path, tmp_path: Path, capsys: Capture) -> None:
    port = f"serial:{tmp_path / 'ttyACM0'}"
    fails(capsys, 3, "ttyACM0", "verify", model, "--target", port)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many attempts as always, of a tenth of the time and of the noise."""
    monkeypatch.setitem(LinkClient.__init__.__kwdefaults__, "timeout_s", 0.1)
    monkeypatch.setattr(session, "_NOISE_BYTES", session._NOISE_BYTES // 10)


@pytest.mark.usefixtures("hasty")
def test_silent_board(model: Path, capsys: Capture) -> None:
    master, slave = pty.openpty()
    try:
        fails(capsys, 3, "no answer", "verify", model, "--target", f"serial:{os.ttyname(slave)}")
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.usefixtures("hasty")
def test_garbage_sending_board(model: Path, capsys: Capture) -> None:
    """A device that talks without end, and nonsense."""
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def babble() -> None:
        connection, _ = server.accept()
        noise = np.random.default_rng(1).bytes(4096)
        with connection:
            while not stop.is_set():
                try:
                    connection.sendall(noise)
                except OSError:
                    return

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    try:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        fails(capsys, 3, "no answer", "verify", model, "--target", url)
    finally:
        stop.set()
        server.close()
        thread.join(timeout=5)


def test_usage_errors_have_code_2(capsys: Capture) -> None:
    assert call("no-such-verb") == 2
    assert call("generate") == 2
    capsys.readouterr()


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever generates code, the first step of every build, fails."""

    def refuse(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("something is built")

    for module in ("workbench", "bench.measure"):
        monkeypatch.setattr(f"tesla_host.{module}.generate", refuse)


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("flash {} --board nucleo-f446re --programmer zzz --dry-run", 2, "no programmer 'zzz'"),
        ("flash {} --board nucleo-f446re --programmer uf2", 2, "uf2 cannot flash a nucleo-f446re"),
        ("flash {} --board nucleo-f446re --programmer stm32flash", 2, "stm32flash needs --port"),
        ("flash {} --board nucleo-f446re --programmer gdb --probe xx --dry-run", 2, "HOST:PORT"),
        ("flash {} --board nucleo-f446re --programmer openocd", 3, "openocd is not on PATH"),
        ("monitor {} --target nucleo-f446re", 2, "nucleo-f446re is a board"),
        ("monitor {} --target qemu:mps2-an386", 3, "no qemu-system-arm"),
        ("emulate {} --target qemu:mps2-an386", 3, "no qemu-system-arm"),
        ("verify {} --target qemu:mps2-an386", 3, "no qemu-system-arm"),
        ("profile {} --data digits --target qemu:mps2-an386", 3, "no qemu-system-arm"),
    ],
)
def test_what_no_build_can_mend_is_told_first(
    model: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    code: int,
    says: str,
) -> None:
    monkeypatch.setenv("PATH", "")
    fails(capsys, code, says, *words.format(model).split())


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize(
    "words",
    [
        ("verify", "{model}"),
        ("bench", "kernels"),
        ("bench", "models", "--only", "ad"),
        ("profile", "{model}", "--data", "digits"),
    ],
)
def test_a_document_that_cannot_be_written_is_told_first(
    model: Path, tmp_path: Path, capsys: Capture, words: tuple[str, ...]
) -> None:
    """Even where the system says that the folder may be written, as it does to root of all."""
    document = tmp_path / f"{'n' * 250}.json"
    command = [word.format(model=model) for word in words]
    fails(capsys, 2, "cannot write", *command, "--json", document)
    assert not list(tmp_path.iterdir())


def test_unwritable_output(model: Path, tmp_path: Path, capsys: Capture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    fails(capsys, 2, "file", "generate", model, "--out", blocked / "out")


@pytest.mark.parametrize(
    "words", [("inspect", "MODEL", "--json", "out"), ("targets", "--json", "out")]
)
def test_a_file_for_json_of_another_name(
    model: Path, capsys: Capture, words: tuple[str, ...]
) -> None:
    """It was "unexpected extra argument (out)"."""
    given = [model if word == "MODEL" else word for word in words]
    fails(capsys, 2, "ends in .json, and out is not one; use --json out.json", *given)
    fails(capsys, 2, "unexpected extra argument", "targets", "out", "--json")


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("options", ["", "--json"])
def test_a_closed_stdout_is_an_error(streams: str, options: str) -> None:
    """It was a traceback, or nothing at all."""
    line = f"{sys.executable} -m tesla_host targets {options} {streams}"
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    said = "error: cannot print the result: Bad file descriptor; mind where the output goes\n"
    assert done.stderr == ("" if "2>&-" in streams else said)


def test_a_document_is_written_before_the_table_is_printed(model: Path, tmp_path: Path) -> None:
    line = f"{sys.executable} -m tesla_host inspect {model} --json {tmp_path / 'm.json'}"
    for end, code in ((">/dev/null", 0), (">&-", 2)):
        done = subprocess.run(["sh", "-c", f"{line} {end}"], capture_output=True, check=False)
        assert done.returncode == code
        assert json.loads((tmp_path / "m.json").read_text())["schema"], "written before the table"
