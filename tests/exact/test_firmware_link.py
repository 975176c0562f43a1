"""The firmware speaks docs/protocol.md, on the emulated board and as a process alike."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tesla_embed.errors import ProtocolError
from tesla_host.build import BuildResult, build_firmware
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.frames import FrameDecoder, encode
from tesla_host.link.pipes import Pipe
from tesla_host.targets import find_target, open_target
from tesla_host.toolchain import find_compiler

DIGEST = bytes([0xFA, 0xCE, *range(3, 11)]) + bytes(22)
INPUT, OUTPUT = 1500, 10
DATA = bytes(i * 7 % 90 for i in range(INPUT))

Build = Callable[[str], BuildResult]


def layer(data: bytes, dp: int) -> bytes:
    return bytes((value + dp) % 256 for value in data[: INPUT * dp // 100])


def network(data: bytes, dp: int, runs: int) -> bytes:
    folded = [sum(layer(data, dp)[j::OUTPUT]) % 256 for j in range(OUTPUT)]
    return bytes([*folded[:-1], runs % 256])


@pytest.fixture(params=["emulator", "host", "qemu:mps2-an386", "qemu:mps3-an547"])
def pipe(request: pytest.FixtureRequest, fake_firmware: Build) -> Iterator[Pipe]:
    pipe = open_target(request.param, fake_firmware(request.param).elf)
    yield pipe
    pipe.close()


@pytest.fixture
def client(pipe: Pipe) -> LinkClient:
    return LinkClient(pipe, ExpectedModel(name="fake", digest=DIGEST))


def exchange(pipe: Pipe, *payloads: bytes) -> list[bytes]:
    """Raw payloads there, raw payloads back (until an echo that marks the end)."""
    end = bytes([1, 0xEE, 0xEE, 9])
    pipe.write(b"".join(map(encode, (*payloads, end))))
    decoder, got = FrameDecoder(), list[bytes]()
    while not got or got[-1][1:4] != b"\xee\xee\x89":
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


def test_a_repeated_request_is_answered_but_not_executed(pipe: Pipe) -> None:
    hello, run = bytes([1, 1, 0, 1, 0]), bytes([1, 2, 0, 4, 1, 0])
    read = bytes([1, 3, 0, 5, 9, 0, 0, 0, 1, 0])
    replies = exchange(pipe, hello, run, run, run, read)
    assert len(replies) == 5
    assert replies[1] == replies[2] == replies[3]
    assert replies[4] == bytes([1, 3, 0, 0x85, 0, 1])


def test_the_same_number_with_other_bytes_is_another_request(pipe: Pipe) -> None:
    one, two = exchange(pipe, bytes([1, 7, 0, 9, 65]), bytes([1, 7, 0, 9, 66]))
    assert (one[5:], two[5:]) == (b"A", b"B")


def test_a_hello_clears_what_an_earlier_host_left(pipe: Pipe) -> None:
    run, hello = bytes([1, 2, 0, 4, 1, 0]), bytes([1, 1, 0, 1, 0])
    read = bytes([1, 3, 0, 5, 9, 0, 0, 0, 1, 0])
    assert exchange(pipe, run, hello, run, read)[-1][5:] == b"\x02"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("02 0000 01 00", -16),
        ("01 0000 00", -17),
        ("01 0000 0A", -17),
        ("01 0000 FF", -17),
        ("01 0000 01", -18),
        ("01 0000 01 03", -1),
        ("01 0000 02", -18),
        ("01 0000 02 33", -2),
        ("01 0000 02 00", -2),
        ("01 0000 03 000000", -18),
        ("01 0000 03 DC050000 01", -1),
        ("01 0000 03 FFFFFFFF 01", -1),
        ("01 0000 03 DD050000", -1),
        ("01 0000 04 0000", -1),
        ("01 0000 04 FFFF", -1),
        ("01 0000 05 0A000000 0100", -1),
        ("01 0000 05 00000000 FFFF", -1),
        ("01 0000 05 FFFFFFFF 0200", -1),
        ("01 0000 06 0200", -1),
        ("01 0000 07 0200 00000000 0100", -1),
        ("01 0000 07 0000 00000000 FD01", -1),
        ("01 0000 08 00", -18),
    ],
)
def test_bad_requests_get_a_status(pipe: Pipe, request_: str, status: int) -> None:
    request = bytes.fromhex(request_)
    (reply,) = exchange(pipe, request)
    command = request[3] | 0x80
    assert reply == bytes([1, 0, 0, command, status & 0xFF])


def test_failures_of_the_model_travel_as_status(client: LinkClient) -> None:
    client.load_input(b"\x61")
    for action in (client.run, client.layer_ticks, lambda: client.layer_dump(0)):
        with pytest.raises(ProtocolError, match="TESLA_ERROR_STATE"):
            action()
    client.load_input(b"\0")
    assert len(client.run(2)) == 2


def test_damaged_frames_are_dropped(pipe: Pipe) -> None:
    good = encode(bytes([1, 5, 0, 9, 1, 2, 3]))
    damaged = [good[:i] + bytes([good[i] ^ 0x10]) + good[i + 1 :] for i in range(1, len(good) - 1)]
    cut = [good[:i] + b"\0" for i in range(1, len(good) - 1)]
    long = [encode(bytes([1, 5, 0, 9]) + bytes([7]) * size) for size in (513, 600, 5000)]
    noise = [b"\xff" * 700, b"\0" * 10, bytes(range(256)) * 4]
    pipe.write(b"".join([*damaged, *cut, *long, *noise]))
    assert exchange(pipe, bytes([1, 6, 0, 9, 42])) == [bytes([1, 6, 0, 0x89, 0, 42])]


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
