"""Ports of every kind, boards that are looked for, unplugged, plugged in and changed."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from boards import NetworkBoard, PtyBoard

from tesla_embed.errors import ConfigError, DeviceError, WrongFirmware
from tesla_host.build import BuildResult, build_firmware
from tesla_host.link import ports
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.ports import Port, connection, find_boards, probe, resolve
from tesla_host.targets import open_link

INPUT, OUTPUT = 1500, 10
DIGEST = bytes([0xFA, 0xCE, *range(3, 11)]) + bytes(22)
MODEL = ExpectedModel(name="fake", digest=DIGEST)
DATA = bytes(i * 7 % 90 for i in range(INPUT))

Build = Callable[[str], BuildResult]


def network(data: bytes, dp: int) -> bytes:
    layer = bytes((value + dp) % 256 for value in data[: INPUT * dp // 100])
    return bytes(sum(layer[j::OUTPUT]) % 256 for j in range(OUTPUT - 1))


@pytest.fixture
def elf(fake_firmware: Build) -> Path:
    return fake_firmware("host").elf


@pytest.fixture
def board(elf: Path, tmp_path: Path) -> Iterator[PtyBoard]:
    board = PtyBoard(elf, tmp_path / "ttyACM0")
    yield board
    board.close()


def listing(*devices: Path | str, **more: object) -> Callable[[], list[SimpleNamespace]]:
    """What the operating system says of its serial ports."""
    plain = {"vid": None, "pid": None, "serial_number": None, "location": None, "hwid": "USB"}
    return lambda: [SimpleNamespace(**{**plain, "device": str(name), **more}) for name in devices]


@pytest.mark.parametrize(
    ("typed", "target"),
    [
        ("/dev/ttyACM0", "serial:/dev/ttyACM0"),
        ("COM3", "serial:COM3"),
        ("serial:COM3", "serial:COM3"),
        ("socket://10.0.0.1:99", "socket://10.0.0.1:99"),
        ("rfc2217://10.0.0.1:99", "rfc2217://10.0.0.1:99"),
        ("auto", "auto"),
    ],
)
def test_what_a_user_types_is_a_target(typed: str, target: str) -> None:
    assert connection(typed) == target


@pytest.mark.parametrize("rfc2217", [False, True])
def test_a_board_behind_a_network(elf: Path, tmp_path: Path, rfc2217: bool) -> None:
    board = NetworkBoard(elf, rfc2217=rfc2217, folder=tmp_path)
    try:
        with open_link(board.url, None, MODEL) as client:
            client.set_dp(50)
            assert client.infer(DATA)[:-1] == network(DATA, 50)
            board.drop_connection()
            assert client.infer(DATA[::-1])[:-1] == network(DATA[::-1], 50)
            assert (client.events.replugs, client.events.resets) == (1, 0)
    finally:
        board.close()


@pytest.mark.parametrize("reset", [False, True])
def test_a_board_that_is_unplugged_and_comes_back(board: PtyBoard, reset: bool) -> None:
    client = open_link(f"serial:{board.path}", None, MODEL)
    client.set_dp(25)
    assert client.infer(DATA)[:-1] == network(DATA, 25)
    board.unplug(reset=reset)
    back = threading.Timer(0.5, board.plug_in)
    back.start()
    assert client.layer_dump(1)[:-1] == network(DATA, 25)
    assert client.infer(DATA[::-1])[:-1] == network(DATA[::-1], 25)
    assert client.events.resets == reset and client.events.replugs >= 1
    back.join()
    client.close()


def test_a_board_that_does_not_come_back_is_lost(board: PtyBoard) -> None:
    port = Port(f"serial:{board.path}")
    client = LinkClient(port.open(), MODEL, reopen=port.open, replug_s=0.3)
    client.hello()
    board.unplug(reset=True)
    with pytest.raises(DeviceError, match=r"lost .*ttyACM0: .*plug the board in"):
        client.run()


def test_another_board_at_the_same_port_is_refused(
    board: PtyBoard, tmp_path: Path, elf: Path
) -> None:
    many = build_firmware(
        Path(__file__).parent / "fake_model", "host", tmp_path, extra_flags=("-DFAKE_MANY",)
    ).elf
    client = open_link(f"serial:{board.path}", None, MODEL)
    client.hello()
    board.unplug(reset=True)
    board.plug_in(many)
    with pytest.raises(WrongFirmware, match="another firmware answers, not fake"):
        client.run()
    client.close()


def test_a_usb_board_is_found_again_under_another_name(
    board: PtyBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed() -> list[SimpleNamespace]:
        return listing(board.path, vid=1, pid=2, serial_number="A7", location="1-2:1.0")()

    monkeypatch.setattr(ports.list_ports, "comports", listed)
    client = open_link(f"serial:{board.path}", None, MODEL)
    client.hello()
    board.unplug(reset=True)
    board.path = tmp_path / "ttyACM1"
    board.plug_in()
    assert client.infer(DATA)[:-1] == network(DATA, 100)
    client.close()


def test_boards_are_found_among_foreign_devices(
    board: PtyBoard, elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = PtyBoard(None, tmp_path / "ttyACM1")
    twin = PtyBoard(elf, tmp_path / "ttyACM2")
    monkeypatch.setattr(
        ports.list_ports, "comports", listing(silent.path, board.path, "/dev/nothing", twin.path)
    )
    start = time.monotonic()
    found = find_boards(MODEL)
    assert time.monotonic() - start < 10
    assert 0 < len(silent.received) <= 3 * 16
    assert found == [f"serial:{board.path}", f"serial:{twin.path}"]
    assert resolve(["serial:x", "auto", "serial:x"], MODEL) == ["serial:x", *found]
    with pytest.raises(ConfigError, match=r"2 boards run fake: .*name one of them"):
        open_link("auto", None, MODEL)
    assert not set(silent.received) & set(b"\r\n\x03\x04")
    twin.close()
    monkeypatch.setattr(ports.list_ports, "comports", listing(silent.path, board.path))
    with open_link("auto", None, MODEL) as client:
        assert client.infer(DATA)[:-1] == network(DATA, 100)
    silent.close()


def test_when_no_board_is_found_each_port_says_why(
    board: PtyBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = PtyBoard(None, tmp_path / "ttyACM1")
    monkeypatch.setattr(
        ports.list_ports, "comports", listing(silent.path, board.path, "/dev/nothing")
    )
    other = ExpectedModel(name="other", digest=b"\xaa" * 32)
    with pytest.raises(DeviceError) as caught:
        find_boards(other)
    text = str(caught.value)
    assert "no board runs other (aaaaaaaaaaaa)" in text and "\n" not in text
    assert f"{silent.path}: no answer" in text
    assert f"{board.path}: runs fake (face03040506)" in text
    assert "/dev/nothing: cannot open /dev/nothing" in text
    silent.close()
    monkeypatch.setattr(ports.list_ports, "comports", listing("/dev/ttyS0", hwid="n/a"))
    with pytest.raises(DeviceError, match="there is no serial port"):
        find_boards(other)


def test_a_port_in_use_is_left_alone(board: PtyBoard) -> None:
    client = open_link(f"serial:{board.path}", None, MODEL)
    client.hello()
    before = len(board.received)
    found = probe(f"serial:{board.path}")
    assert found.hello is None and "cannot open" in found.reason
    assert len(board.received) == before
    client.close()
