"""The firmware speaks docs/protocol.md, on the emulated board and as a process alike."""

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tesla_embed.errors import ProtocolError
from tesla_host.build import BuildResult, build_firmware
from tesla_host.compilers import find_compiler
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.frames import FrameDecoder, encode
from tesla_host.link.pipes import Pipe
from tesla_host.targets import find_target, open_target

DIGEST = bytes([0xFA, 0xCE, *range(3, 11)]) + bytes(22)
INPUT, OUTPUT = 1500, 10
DATA = bytes(i * 7 % 90 for i in range(INPUT))

Build = Callable[[str], BuildResult]


def layer(data: bytes, dp: int) -> bytes:
    return bytes((value + dp) % 256 for value in data[: INPUT * dp // 100])


def network(data: bytes, dp: int, runs: int) -> bytes:
    folded = [sum(layer(data, dp)[j::OUTPUT]) % 256 for j in range(OUTPUT)]
    return bytes([*folded[:-1], runs % 256])


@pytest.fixture(params=["emulator", "host", "qemu:mps2-an386", "qemu:mps3-an547", "qemu:virt"])
def pipe(request: pytest.FixtureRequest, fake_firmware: Build) -> Iterator[Pipe]:
    pipe = open_target(request.param, fake_firmware(request.param).elf)
    yield pipe
    pipe.close()


@pytest.fixture
def client(pipe: Pipe) -> LinkClient:
    return LinkClient(pipe, ExpectedModel(name="fake", digest=DIGEST))


def greeting(sequence: int = 0, session: int = 0x1234, first: int = 0) -> bytes:
    return bytes([2]) + struct.pack("<HBBI", sequence, 1, first, session)


def exchange(pipe: Pipe, *payloads: bytes) -> list[bytes]:
    """Raw payloads there, raw payloads back (until a HELLO's reply that marks the end)."""
    pipe.write(b"".join(map(encode, (*payloads, greeting(0xEEEE, 0xFFFF_FFFF)))))
    decoder, got = FrameDecoder(), list[bytes]()
    while not got or got[-1][1:4] != b"\xee\xee\x81":
        pipe.timeout = 5
        data = pipe.read(max(1, pipe.in_waiting))
        assert data, "the firmware went silent"
        got += decoder.feed(data)
    return got[:-1]


def test_hello(client: LinkClient) -> None:
    hello = client.hello()
    assert (hello.model, hello.digest, hello.max_body) == ("fake", DIGEST, 512)
    assert (hello.input_bytes, hello.output_bytes, hello.arena_bytes) == (INPUT, OUTPUT, INPUT)
    assert hello.layer_count == 2
    assert [(r.dp, r.input_scale, r.output_zero_point) for r in hello.regions] == [
        (25, 0.5, 7),
        (50, 0.25, 8),
        (100, pytest.approx(0.0039215688, abs=1e-9), 0),
    ]
    counted = {"emulator": ["instructions", "cycles"], "host": ["ns"]}
    names = counted.get(hello.board, ["instructions"])
    assert [counter.name for counter in hello.counters] == names


def test_inference_in_every_region(client: LinkClient) -> None:
    assert client.infer(DATA) == network(DATA, 100, 1)
    for runs, dp in enumerate((25, 100, 50), start=2):
        client.set_dp(dp)
        assert client.infer(DATA) == network(DATA, dp, runs)


def test_layer_dump_in_every_region(client: LinkClient) -> None:
    client.load_input(DATA)
    for dp in (25, 50, 100):
        client.set_dp(dp)
        assert client.layer_dump(0) == layer(DATA, dp)


def test_ticks_cover_runs_and_layers(client: LinkClient) -> None:
    client.load_input(DATA)
    runs = client.run(130)
    assert len(runs) == 130 and all(value > 0 for ticks in runs for value in ticks.values())
    layers = client.layer_ticks()
    assert len(layers) == 2
    assert all(set(ticks) == set(runs[0]) for ticks in layers)


def test_layer_slices(client: LinkClient) -> None:
    client.load_input(DATA)
    expected = layer(DATA, 100)
    part = client.layer_slice(0, 1490, 100)
    assert (part.size, part.data) == (INPUT, expected[1490:])
    assert client.layer_slice(0, 1500, 5).data == b""
    assert client.layer_slice(0, 1 << 30, 5).data == b""
    assert len(client.layer_dump(1)) == OUTPUT


RUN, READ_COUNT = "04 0100", "05 09000000 0100"


def request(sequence: int, rest: str) -> bytes:
    return bytes([2]) + sequence.to_bytes(2, "little") + bytes.fromhex(rest)


def test_a_repeated_request_is_answered_but_not_executed(pipe: Pipe) -> None:
    run = request(1, RUN)
    replies = exchange(pipe, greeting(), run, run, run, request(2, READ_COUNT))
    assert len(replies) == 5
    assert replies[1] == replies[2] == replies[3]
    assert replies[4] == bytes([2, 2, 0, 0x85, 0, 1])


def test_a_hello_of_the_open_session_changes_nothing(pipe: Pipe) -> None:
    run = request(8, RUN)
    replies = exchange(pipe, greeting(7), run, greeting(99), run, request(9, READ_COUNT))
    assert replies[1] == replies[3] and replies[4][5:] == b"\x01"
    assert [struct.unpack_from("<IHH", replies[i], 5) for i in (0, 2)] == [
        (0x1234, 7, 7),
        (0x1234, 7, 8),
    ]


def test_a_hello_of_another_session_begins_anew(pipe: Pipe) -> None:
    run = request(8, RUN)
    replies = exchange(pipe, greeting(7), run, greeting(7, 5), run, request(9, READ_COUNT))
    assert replies[-1][5:] == b"\x02"
    assert struct.unpack_from("<IHH", replies[2], 5) == (5, 7, 7)


def test_nothing_is_executed_before_a_hello(pipe: Pipe) -> None:
    replies = exchange(pipe, request(1, RUN), greeting(), request(1, READ_COUNT))
    assert replies[0] == bytes([2, 1, 0, 0x84, 0x100 - 19])
    assert replies[2][5:] == b"\x00"


@pytest.mark.parametrize("number", [0, 2, 3, 4, 6, 0x8003, 0xFFFF])
def test_a_number_out_of_turn_is_refused(pipe: Pipe, number: int) -> None:
    """After 3 and 4, only 4 again (the same bytes) and 5 are answered."""
    late = request(number, "04 0200")
    replies = exchange(
        pipe, greeting(2), request(3, RUN), request(4, RUN), late, request(5, READ_COUNT)
    )
    assert replies[3][4] == 0x100 - 20 and replies[3][1:3] == late[1:3]
    assert replies[4][5:] == b"\x02"


def test_sequence_numbers_wrap(pipe: Pipe) -> None:
    replies = exchange(
        pipe, greeting(0xFFFE), request(0xFFFF, RUN), request(0, RUN), request(1, READ_COUNT)
    )
    assert replies[-1][5:] == b"\x02"


def fed(offset: int, data: bytes, dp: int = 100) -> bytes:
    return bytes([2, 0, 0, 10]) + offset.to_bytes(4, "little") + data


def test_fed_parts_are_not_answered_and_inferred(pipe: Pipe) -> None:
    crc = zlib.crc32(DATA).to_bytes(4, "little")
    infer = crc + struct.pack("<I", 1200) + DATA[1200:]
    replies = exchange(
        pipe,
        greeting(),
        *(fed(at, DATA[at : at + 400]) for at in (0, 400, 800)),
        bytes([2, 1, 0, 11]) + infer,
        fed(7, b"another"),
        bytes([2, 2, 0, 11]) + crc + bytes(4),
        fed(1499, b"ab"),
        bytes([2, 0, 0, 10, 1, 2, 3]),
        fed(7, DATA[7:14]),
        bytes([2, 3, 0, 11]) + crc + struct.pack("<I", 1500),
        bytes([2, 4, 0, 11]) + crc + struct.pack("<I", 1501),
        bytes([2, 5, 0, 11]) + crc + bytes(3),
    )
    assert len(replies) == 6
    assert [reply[4] for reply in replies] == [0, 0, 0x100 - 21, 0, 0xFF, 0x100 - 18]
    assert replies[1][-10:] == network(DATA, 100, 1) and replies[3][-10:] == network(DATA, 100, 2)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("01 0100 01 00", -16),
        ("02 0100 00", -17),
        ("02 0100 0C", -17),
        ("02 0100 FF", -17),
        ("02 0100 01", -18),
        ("02 0100 01 00", -18),
        ("02 0100 01 00 05000000 00", -18),
        ("02 0100 01 03 05000000", -1),
        ("02 0100 01 00 00000000", -1),
        ("02 0100 02", -18),
        ("02 0100 02 33", -2),
        ("02 0100 02 00", -2),
        ("02 0100 03 000000", -18),
        ("02 0100 03 DC050000 01", -1),
        ("02 0100 03 FFFFFFFF 01", -1),
        ("02 0100 03 DD050000", -1),
        ("02 0100 04 0000", -1),
        ("02 0100 04 FFFF", -1),
        ("02 0100 05 0A000000 0100", -1),
        ("02 0100 05 00000000 FFFF", -1),
        ("02 0100 05 FFFFFFFF 0200", -1),
        ("02 0100 06 0200", -1),
        ("02 0100 07 0200 00000000 0100", -1),
        ("02 0100 07 0000 00000000 FD01", -1),
        ("02 0100 08 00", -18),
    ],
)
def test_bad_requests_get_a_status(pipe: Pipe, request_: str, status: int) -> None:
    request = bytes.fromhex(request_)
    _, reply = exchange(pipe, greeting(), request)
    command = request[3] | 0x80
    assert reply == bytes([2, 1, 0, command, status & 0xFF])


def test_failures_of_the_model_travel_as_status(client: LinkClient) -> None:
    client.load_input(b"\x61")
    for action in (client.run, client.layer_ticks, lambda: client.layer_dump(0)):
        with pytest.raises(ProtocolError, match="TESLA_ERROR_STATE"):
            action()
    client.load_input(b"\0")
    assert len(client.run(2)) == 2


def test_damaged_frames_are_dropped(pipe: Pipe) -> None:
    assert len(exchange(pipe, greeting(0, 0xFFFF_FFFF))) == 1
    good = encode(bytes([2, 1, 0, 9, 1, 2, 3]))
    damaged = [good[:i] + bytes([good[i] ^ 0x10]) + good[i + 1 :] for i in range(1, len(good) - 1)]
    cut = [good[:i] + b"\0" for i in range(1, len(good) - 1)]
    long = [encode(bytes([2, 1, 0, 9]) + bytes([7]) * size) for size in (513, 600, 5000)]
    noise = [b"\xff" * 700, b"\0" * 10, bytes(range(256)) * 4]
    pipe.write(b"".join([*damaged, *cut, *long, *noise]))
    assert exchange(pipe, bytes([2, 1, 0, 9, 42])) == [bytes([2, 1, 0, 0x89, 0, 42])]


@pytest.mark.parametrize("size", [0, 1, 253, 254, 255, 507, 508, 509, 512])
@pytest.mark.parametrize("fill", [0, 1, 255])
def test_echo_of_every_framing_edge(client: LinkClient, size: int, fill: int) -> None:
    assert client.echo(bytes([fill]) * size) == bytes([fill]) * size


@pytest.mark.parametrize("target", ["emulator", "host"])
def test_what_one_reply_cannot_hold_comes_in_pages(
    target: str, tmp_path: Path, require_tool: Callable[..., object]
) -> None:
    require_tool(lambda: find_compiler(find_target(target).compiler))
    project = Path(__file__).parent / "fake_model"
    elf = build_firmware(project, target, tmp_path, extra_flags=("-DFAKE_MANY", "-Werror")).elf
    with LinkClient(open_target(target, elf)) as client:
        regions = client.hello().regions
        assert [region.dp for region in regions] == list(range(1, 101))
        assert [region.input_zero_point for region in regions] == list(range(1, 101))
        assert [region.output_zero_point for region in regions] == list(range(-1, -101, -1))
        client.load_input(DATA)
        client.set_dp(73)
        assert client.layer_dump(0) == layer(DATA, 73)
        ticks = client.layer_ticks()
        assert len(ticks) == 150
        if target == "emulator":
            assert len({entry["instructions"] for entry in ticks[2:]}) == 1
            assert 0 < ticks[2]["instructions"] < 20
            assert ticks[0]["instructions"] > 1000
