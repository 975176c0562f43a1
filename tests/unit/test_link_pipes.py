"""Pipes to processes, sockets and ports; and what is said when one is not there."""

import socket
import sys
import threading
from collections.abc import Iterator

import pytest
from fake_device import FakeDevice

from tesla_embed.errors import DeviceError, LinkTimeout
from tesla_host.link.client import LinkClient
from tesla_host.link.pipes import ProcessPipe, SerialPipe

ECHO = """
import os
while data := os.read(0, 65536):
    while data:
        data = data[os.write(1, data):]
"""


@pytest.fixture
def echo() -> Iterator[ProcessPipe]:
    pipe = ProcessPipe([sys.executable, "-c", ECHO], timeout=5)
    yield pipe
    pipe.close()


def test_a_process_pipe_reads_what_it_is_asked_for(echo: ProcessPipe) -> None:
    assert echo.write(b"hello") == 5
    assert echo.read(3) == b"hel" and echo.in_waiting == 2
    echo.timeout = 0.02
    assert echo.read(10) == b"lo"
    assert echo.read(10) == b""


def test_a_process_pipe_forgets(echo: ProcessPipe) -> None:
    echo.write(b"hello")
    assert echo.read(1) == b"h"
    echo.reset_input_buffer()
    echo.timeout = 0.02
    assert echo.read(10) == b""


def test_neither_side_of_a_process_pipe_blocks_the_other(echo: ProcessPipe) -> None:
    data = bytes(range(256)) * 4000
    echo.write(data)
    assert echo.read(len(data)) == data


def test_a_missing_program_is_one_line() -> None:
    with pytest.raises(
        DeviceError, match=r"cannot start /nowhere/fw: .*; build the firmware again"
    ):
        ProcessPipe(["/nowhere/fw"])


def test_a_process_that_ends_tells_its_status() -> None:
    pipe = ProcessPipe([sys.executable, "-c", "raise SystemExit(7)"], timeout=5)
    with pytest.raises(DeviceError, match="ended with status 7"):
        pipe.read(1)
    with pytest.raises(DeviceError, match="ended with status 7"):
        pipe.write(b"x" * 100_000)
    pipe.close()
    pipe.close()


def test_a_process_that_hangs_is_killed() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)"
    pipe = ProcessPipe([sys.executable, "-c", code], timeout=0.05)
    assert pipe.read(1) == b""
    pipe.close()
    assert pipe._process.returncode is not None


@pytest.mark.parametrize("url", ["/dev/tty.nothing-here", "socket://127.0.0.1:1", "nosuch://x"])
def test_a_missing_port_is_one_line(url: str) -> None:
    with pytest.raises(
        DeviceError, match=f"cannot open {url}: .*is the board plugged in"
    ) as caught:
        SerialPipe(url)
    assert "\n" not in str(caught.value)


def test_a_wire_from_tx_to_rx_is_no_device() -> None:
    client = LinkClient(SerialPipe("loop://"), timeout_s=0.02, retries=1)
    with pytest.raises(LinkTimeout):
        client.hello()
    client.close()


@pytest.fixture
def board() -> Iterator[tuple[str, threading.Event]]:
    """A fake device behind a TCP port; the event unplugs it."""
    server = socket.create_server(("127.0.0.1", 0))
    unplugged = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        device = FakeDevice()
        with connection:
            connection.settimeout(0.02)
            while not unplugged.is_set():
                try:
                    data = connection.recv(4096)
                except TimeoutError:
                    continue
                if not data:
                    return
                device.write(data)
                connection.sendall(device.read(device.in_waiting))

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"socket://127.0.0.1:{server.getsockname()[1]}", unplugged
    unplugged.set()
    thread.join()
    server.close()


def test_a_socket_speaks_and_is_unplugged(board: tuple[str, threading.Event]) -> None:
    url, unplugged = board
    client = LinkClient(SerialPipe(url))
    assert client.hello().model == "model"
    data = bytes(i % 256 for i in range(700))
    assert client.infer(data) == data[::-1][:600]
    unplugged.set()
    with pytest.raises(DeviceError, match=r"lost socket://.*plug the board in|no answer"):
        for _ in range(100):
            client.echo(b"x")
    client.close()
