"""The client against a device in Python: the good case, every fault of the line, every lie."""

import contextlib
import struct

import pytest
from fake_device import DIGEST, INPUT, LAYERS, OUTPUT, FakeDevice, faults
from hypothesis import given, settings
from hypothesis import strategies as st

from tesla_embed.errors import (
    ConfigError,
    DeviceError,
    LinkTimeout,
    ProtocolError,
    WrongFirmware,
)
from tesla_host.link.client import Command, ExpectedModel, LinkClient
from tesla_host.link.replies import StackUse

TICKS = {"instructions": 1000, "cycles": 1500}


def test_every_command() -> None:
    device = FakeDevice()
    with LinkClient(device, ExpectedModel(name="model", digest=DIGEST)) as client:
        hello = client.hello()
        assert (hello.model, hello.board, hello.cpu) == ("model", "desk", "snake")
        assert (hello.input_bytes, hello.output_bytes, hello.arena_bytes) == (INPUT, OUTPUT, 4096)
        assert [region.dp for region in hello.regions] == [25, 50]
        assert hello.regions[1].output_scale == 2.0 and hello.regions[0].input_zero_point == -3
        assert client.set_dp(25) == TICKS
        data = bytes(i % 251 for i in range(INPUT))
        assert client.infer(data) == data[::-1][:OUTPUT]
        assert client.run(100) == (TICKS,) * 100
        assert client.read_output(590, 7) == data[::-1][590:597]
        assert client.layer_ticks()[1] == {"instructions": 3, "cycles": 4}
        assert client.layer_dump(0) == LAYERS[0] and client.layer_dump(1) == LAYERS[1]
        assert client.stack() == StackUse(size=8192, used=300)
        assert client.echo(b"\0\1\2") == b"\0\1\2"
    assert device.closed


@pytest.mark.parametrize("fault", ["drop", "flip", "double", "noise"])
@pytest.mark.parametrize("direction", ["to", "back"])
def test_a_fault_of_the_line_costs_nothing_twice(fault: str, direction: str) -> None:
    device = FakeDevice()
    client = LinkClient(device)
    client.hello()
    device.executed.clear()
    setattr(device, direction, faults(fault, "pass", fault))
    assert client.run(3) == (TICKS,) * 3
    assert client.set_dp(50) == TICKS
    assert device.executed == [Command.RUN, Command.SET_DP]


PLAN = st.lists(st.sampled_from(["pass", "drop", "flip", "double", "noise", "reset"]), max_size=30)


@settings(max_examples=200, deadline=None)
@given(PLAN, PLAN, st.sampled_from([0, 300, 5000]))
def test_any_faults_give_the_right_answers(
    to: list[str], back: list[str], receive_bytes: int
) -> None:
    device = FakeDevice()
    device.receive_bytes = receive_bytes
    for direction, plan in (("to", to), ("back", back)):
        setattr(device, direction, faults(*plan, reset=device.reset))
    client = LinkClient(device, retries=70)
    client.set_dp(25)
    samples = [bytes(i * k % 256 for i in range(INPUT)) for k in (7, 11, 13)]
    for data, inference in zip(samples, client.infer_many(samples), strict=True):
        assert inference.output == data[::-1][:OUTPUT]
        assert device.ran_at == 25
    if "reset" not in to + back:
        assert device.executed.count(Command.INFER) == 3 + client.events.reloads


@pytest.mark.parametrize("receive_bytes", [0, 300, 5000])
def test_a_stream_of_inputs_of_any_board(receive_bytes: int) -> None:
    device = FakeDevice()
    device.receive_bytes = receive_bytes
    client = LinkClient(device)
    samples = [bytes(i * k % 256 for i in range(INPUT)) for k in range(5)]
    got = [inference.output for inference in client.infer_many(samples)]
    assert got == [data[::-1][:OUTPUT] for data in samples]
    assert device.executed.count(Command.LOAD_INPUT) == (0 if receive_bytes else 5 * 2)
    assert client.events.reloads == 0


def test_after_a_request_without_an_answer_the_next_one_is_sound() -> None:
    device = FakeDevice()
    client = LinkClient(device, retries=0)
    client.hello()
    for direction in ("to", "back"):
        setattr(device, direction, faults("drop"))
        with pytest.raises(LinkTimeout, match="RUN"):
            client.run()
        assert client.set_dp(25) == TICKS
    assert device.executed.count(Command.RUN) == 1


def test_a_board_that_resets_for_ever_is_named() -> None:
    device = FakeDevice()
    client = LinkClient(device)
    client.hello()
    device.to = lambda frame: (device.reset(), [frame])[1]
    with pytest.raises(DeviceError, match=r"reset 16 times.*power supply"):
        client.run()


def test_another_board_after_a_reset_is_refused() -> None:
    device = FakeDevice()
    client = LinkClient(device)
    client.hello()
    device.reset()
    device.receive_bytes = 77
    with pytest.raises(WrongFirmware, match="another firmware answers, not model"):
        client.run()


def test_silence_is_a_timeout_that_says_what_to_check() -> None:
    with pytest.raises(LinkTimeout, match=r"HELLO: no answer in 4 attempts.*baud rate"):
        LinkClient(FakeDevice(to=faults(*["drop"] * 99))).hello()


def test_an_echoing_wire_is_no_device() -> None:
    device = FakeDevice()
    device.write = lambda data: device._out.extend(data) or len(data)  # type: ignore[method-assign]
    with pytest.raises(LinkTimeout):
        LinkClient(device, retries=1).hello()


def test_another_model_is_named() -> None:
    client = LinkClient(FakeDevice(), ExpectedModel(name="wanted", digest=b"\xaa" * 32))
    with pytest.raises(
        WrongFirmware, match=r"runs model \(000102030405\), not wanted \(aaaaaaaaaaaa"
    ):
        client.set_dp(25)


def test_another_protocol_version_is_named() -> None:
    device = FakeDevice()
    device.version = 1
    with pytest.raises(ProtocolError, match="protocol version 1, this program 2"):
        LinkClient(device).hello()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-1, "ARGUMENT"),
        (-2, "REGION"),
        (-3, "STATE"),
        (-17, "COMMAND"),
        (-18, "LENGTH"),
        (-99, "-99"),
    ],
)
def test_a_failure_names_command_and_status(status: int, words: str) -> None:
    device = FakeDevice()
    device.statuses[Command.RUN] = status
    with pytest.raises(ProtocolError, match=f"RUN: .*{words}"):
        LinkClient(device).run()


def test_arguments_are_checked_before_they_travel() -> None:
    device = FakeDevice()
    client = LinkClient(device)
    client.hello()
    device.executed.clear()
    with pytest.raises(ConfigError, match="no operating region of 30 %; it has 25, 50"):
        client.set_dp(30)
    with pytest.raises(ConfigError, match="699 bytes, model takes 700"):
        client.infer(bytes(699))
    with pytest.raises(ConfigError, match="does not fit"):
        client.load_input(bytes(10), offset=691)
    with pytest.raises(ConfigError, match="do not exist"):
        client.read_output(0, OUTPUT + 1)
    with pytest.raises(ConfigError, match="layer 2"):
        client.layer_dump(2)
    with pytest.raises(ConfigError, match="echo"):
        client.echo(bytes(257))
    with pytest.raises(ConfigError, match="run count"):
        client.run(0)
    assert device.executed == []


LIES = [
    (Command.SET_DP, b"\1\2\3"),
    (Command.SET_DP, bytes(16)),
    (Command.LOAD_INPUT, b"x"),
    (Command.RUN, b""),
    (Command.RUN, bytes(4)),
    (Command.RUN, bytes(24)),
    (Command.READ_OUTPUT, b"short"),
    (Command.LAYER_TICKS, b""),
    (Command.LAYER_TICKS, bytes(8 * 3)),
    (Command.LAYER_DUMP, b"\1"),
    (Command.LAYER_DUMP, struct.pack("<I", 10)),
    (Command.LAYER_DUMP, struct.pack("<I", 1) + b"too long"),
    (Command.LAYER_DUMP, struct.pack("<I", 0xFFFFFFFF)),
    (Command.STACK, bytes(7)),
    (Command.STACK, bytes(9)),
    (Command.STACK, struct.pack("<II", 100, 101)),
    (Command.ECHO, b"other"),
    (Command.INFER, b""),
    (Command.INFER, bytes(255)),
    (Command.INFER, bytes(257)),
]


@pytest.mark.parametrize(("command", "body"), LIES)
def test_a_lying_reply_is_a_protocol_error(command: Command, body: bytes) -> None:
    device = FakeDevice()
    device.overrides[command] = body
    client = LinkClient(device)
    with pytest.raises(ProtocolError, match=command.name):
        _everything(client)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_hello_is_a_protocol_error(data: st.DataObject) -> None:
    device = FakeDevice(region_pages=1)
    body = bytearray(device.hello(0))
    at = data.draw(st.integers(0, len(body) - 1))
    match data.draw(st.sampled_from(["cut", "set", "grow"])):
        case "cut":
            del body[at:]
        case "set":
            body[at] = data.draw(st.integers(0, 255))
        case "grow":
            body += b"\0"
    device.overrides[Command.HELLO] = bytes(body)
    try:
        LinkClient(device).hello()
    except ProtocolError as error:
        assert "HELLO" in str(error)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(Command)), st.binary(max_size=64))
def test_arbitrary_replies_raise_device_errors_only(command: Command, body: bytes) -> None:
    device = FakeDevice()
    device.overrides[command] = body
    with contextlib.suppress(DeviceError):
        _everything(LinkClient(device))


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_a_device_that_sends_garbage_is_a_timeout(garbage: bytes) -> None:
    device = FakeDevice()
    device.read = lambda size=1: garbage  # type: ignore[method-assign]
    with pytest.raises(LinkTimeout):
        LinkClient(device, retries=0, timeout_s=0.02).hello()


def test_sequence_numbers_wrap() -> None:
    device = FakeDevice()
    client = LinkClient(device)
    client.hello()
    device.last = client._session._sequence = 0xFFFE
    for _ in range(4):
        client.echo(b"same")
    assert device.executed.count(Command.ECHO) == 4


def _everything(client: LinkClient) -> None:
    client.set_dp(50)
    client.infer(bytes(INPUT))
    client.run(2)
    client.layer_ticks()
    client.layer_dump(1)
    client.stack()
    client.echo(b"12345678")
