"""`emulate` keeps a firmware running for clients that come and go, on both kinds of line."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import serial
from dialogue import Reference, hexadecimal, without_laps
from graphs import benchmark_model, int8_inputs
from shell import call

from tesla_codegen.lower import lower
from tesla_embed.errors import ConfigError, DeviceError
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.store import digest, save_model
from tesla_host.compilers import find_compiler
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.results import read_profile
from tesla_host.serving.bridge import await_boot
from tesla_host.serving.lines import open_line
from tesla_host.targets import find_target, open_target

TCP = "socket://127.0.0.1:0"
MODEL = benchmark_model("kws01")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("emulate")
    save_model(path / "m.safetensors", MODEL)
    return path


class Server:
    """A running `tesla-embed emulate`."""

    def __init__(self, folder: Path, target: str, listen: str, app: str) -> None:
        command = [sys.executable, "-m", "tesla_host", "emulate", folder / "m.safetensors"]
        command += ["--target", target, "--listen", listen, "--app", app]
        command += ["--build-dir", folder / f"{target}-{app}"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.communicate()[1]

    def open(self) -> serial.Serial:
        port: serial.Serial = serial.serial_for_url(self.address, 115200, timeout=30)
        return port

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if not path.exists():
            pytest.skip("this system does not list the children of a process")
        return [int(number) for number in path.read_text().split()]

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; exit code and messages."""
        self.process.send_signal(number)
        _, messages = self.process.communicate(timeout=20)
        return self.process.returncode, messages


Serve = Callable[[str, str, str], Server]


@pytest.fixture
def serve(folder: Path, require_tool: Callable[..., object]) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(target: str, listen: str, app: str) -> Server:
        require_tool(lambda: find_compiler(find_target(target).compiler))
        servers.append(Server(folder, target, listen, app))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


def ask(port: serial.Serial, commands: bytes) -> str:
    port.write(commands)
    said = b""
    for _ in range(commands.count(b"%")):
        said += port.read_until(b"m-ready\r\n")
    return said.decode()


def test_a_profile_over_a_port_tells_the_boards_memory(serve: Serve, folder: Path) -> None:
    """The firmware has kernels of its own; the build beside it, for the host, has portable ones."""
    rng = np.random.default_rng(7)
    data = folder / "data"
    data.mkdir()
    for part in ("train", "test"):
        x = rng.normal(0, 1, (12, 49, 10, 1)).astype(np.float32)
        np.savez(data / f"{part}.npz", x=x, y=np.arange(12))
    common = [folder / "m.safetensors", "--data", f"npz:{data}", "--device-samples", 1]
    common += ["--regions", "20"]
    port, built = folder / "port.json", folder / "built.json"
    server = serve("emulator", "pty", "link")
    assert call("profile", *common, "--port", server.address, "--json", port) == 0
    assert call("profile", *common, "--target", "emulator", "--json", built) == 0
    found, expected = (read_profile(path) for path in (port, built))
    assert expected.memory.arena_bytes != lower(MODEL).arena_bytes
    assert found.memory.arena_bytes == expected.memory.arena_bytes
    assert found.memory.buffers == expected.memory.buffers
    peaks = [[region.arena_peak_bytes for region in one.regions] for one in (found, expected)]
    assert peaks[0] == peaks[1]
    assert found.model.weights_bytes in (None, expected.model.weights_bytes)
    assert found.memory.region_table_bytes in (None, expected.memory.region_table_bytes)


@pytest.mark.parametrize("listen", [TCP, "pty"])
@pytest.mark.parametrize("target", ["host", "emulator"])
def test_the_dialogue_goes_on_when_the_port_is_opened_again(
    serve: Serve, target: str, listen: str
) -> None:
    server, reference = serve(target, listen, "mlperf-tiny"), Reference(MODEL, "kws01", target)
    sample = np.random.default_rng(1).bytes(490)
    chunks = [part + b"%" for part in hexadecimal(sample).split(b"%")[:-1]]
    streams = [
        b"name%",
        b"name%profile%timestamp%",
        b"".join(chunks[:4]),
        b"db load 0%db 1%what%" + chunks[4] + b"a" * 5000 + b"%",
        b"\xff\x00%" + b"".join(chunks[5:]),
        b"db print%infer 2 1%dp 20%",
        b"infer 1%",
    ]
    for stream in streams:
        with server.open() as port:
            assert without_laps(ask(port, stream)) == reference.answer(stream)
    with server.open() as port:
        port.write(b"na")
    with server.open() as port:
        assert ask(port, b"me%") == reference.answer(b"name%")
    assert server.end(signal.SIGTERM)[0] == 0


def test_an_answer_that_nobody_waits_for_does_no_harm(serve: Serve) -> None:
    server = serve("host", "pty", "mlperf-tiny")
    for _ in range(3):
        with server.open() as port:
            port.write(b"help%" * 20)
    time.sleep(0.5)
    with server.open() as port:
        assert ask(port, b"name%").startswith("m-name-dut-[")


@pytest.mark.parametrize("listen", [TCP, "pty"])
def test_a_client_that_does_not_read_stops_nothing(serve: Serve, listen: str) -> None:
    server = serve("host", listen, "mlperf-tiny")
    with server.open() as port:
        port.write(b"help%" * 4000)  # two megabytes of answers
        time.sleep(1)
    with server.open() as port:
        port.timeout = 0.1
        said = b""
        deadline = time.monotonic() + 60
        while b"m-name-dut" not in said and time.monotonic() < deadline:
            port.write(b"%name%")
            said = said[-20:] + port.read(1 << 20)
        assert b"m-name-dut" in said
    assert server.end(signal.SIGINT)[0] == 130


def test_a_second_client_waits_its_turn(serve: Serve) -> None:
    server = serve("host", TCP, "mlperf-tiny")
    with server.open() as first, server.open() as second:
        second.write(b"profile%")
        assert ask(first, b"name%").startswith("m-name-dut-[")
        second.timeout = 0.3
        assert second.read(1) == b""
        first.close()
        second.timeout = 20
        assert second.read_until(b"m-ready\r\n").startswith(b"m-profile-[")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
@pytest.mark.parametrize("target", ["host", "emulator"])
def test_it_ends_cleanly_while_the_firmware_computes(
    serve: Serve, target: str, number: int, code: int
) -> None:
    server = serve(target, TCP, "mlperf-tiny")
    children = server.children()
    assert len(children) == (1 if target == "host" else 0)
    with server.open() as port:
        port.write(b"infer 2000000 0%")
        if target == "emulator":  # a process sends what it said when it waits for more
            assert port.read_until(b"m-infer-start-2000000\r\n")
        time.sleep(0.3)
        if target == "host":
            os.kill(children[0], signal.SIGINT)  # a terminal sends Ctrl-C to both
        found, messages = server.end(number)
    assert (found, "Traceback" in messages) == (code, False)
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_firmware_that_ends_is_an_error(serve: Serve) -> None:
    server = serve("host", TCP, "link")
    os.kill(server.children()[0], signal.SIGKILL)
    _, messages = server.process.communicate(timeout=20)
    assert server.process.returncode == 3
    assert messages.splitlines()[-1].startswith("error: the firmware process")


@pytest.mark.parametrize("listen", [TCP, "pty"])
@pytest.mark.parametrize("target", ["host", "emulator"])
def test_the_link_is_served(serve: Serve, target: str, listen: str) -> None:
    server = serve(target, listen, "link")
    name = server.address if listen == TCP else f"serial:{server.address}"
    expected = ExpectedModel(name=MODEL.name, digest=bytes.fromhex(digest(MODEL)))
    inputs = int8_inputs(MODEL, 0, 3)
    for region in MODEL.regions:
        with LinkClient(open_target(name), expected) as client:
            client.set_dp(region.dp)
            for sample, wanted in zip(inputs, interpret(MODEL, region, inputs), strict=True):
                assert client.infer(sample.tobytes()) == wanted.tobytes()


def test_profile_measures_through_the_socket(
    serve: Serve, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve("emulator", TCP, "link")
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        x = rng.normal(0, 1, (6, 49, 10, 1)).astype(np.float32)
        np.savez(tmp_path / f"{part}.npz", x=x, y=np.arange(6))
    arguments = ("profile", folder / "m.safetensors", "--data", f"npz:{tmp_path}")
    assert call(*arguments, "--target", server.address, "--device-samples", "2") == 0
    assert "yes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("listen", "code", "says"),
    [
        ("tcp://127.0.0.1:5", 2, "write socket://127.0.0.1:PORT or pty"),
        ("socket://127.0.0.1", 2, "write socket"),
        ("socket://127.0.0.1:99999", 2, "write socket"),
        ("socket://203.0.113.1:0", 3, "choose another port"),
    ],
)
def test_lines_that_cannot_be(
    folder: Path, capsys: pytest.CaptureFixture[str], listen: str, code: int, says: str
) -> None:
    assert call("emulate", folder / "m.safetensors", "--listen", listen) == code
    assert says in capsys.readouterr().err


def test_a_port_in_use(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"socket://127.0.0.1:{taken.getsockname()[1]}"
        assert call("emulate", folder / "m.safetensors", "--listen", listen) == 3
    assert "choose another port, or 0" in capsys.readouterr().err


def test_what_runs_already_is_not_emulated(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("emulate", folder / "m.safetensors", "--target", "serial:/dev/none") == 2
    assert "runs already" in capsys.readouterr().err


class Mute:
    """A firmware that never says what it should."""

    timeout: float | None = None
    in_waiting = 0

    def read(self, size: int = 1) -> bytes:
        return b"x"

    def write(self, data: bytes) -> int:
        return len(data)

    def reset_input_buffer(self) -> None: ...

    def close(self) -> None: ...


def test_a_firmware_that_does_not_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tesla_host.serving.bridge._BOOT_S", 0.05)
    with pytest.raises(DeviceError, match="did not start: it said b'x"):
        await_boot(Mute(), b"m-ready\r\n", lambda: False)
    with pytest.raises(ConfigError):
        open_line("")
