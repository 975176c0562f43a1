"""Framing: what goes in comes out, and nothing else ever does."""

import re
import zlib
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from tesla_host.link.frames import PROTOCOL_VERSION, FrameDecoder, decode, encode

payloads = st.binary(max_size=1200)


@given(payloads)
@example(b"")
@example(bytes(600))
@example(b"\x01" * 253)
@example(b"\x01" * 254)
@example(b"\x01" * 255)
def test_round_trip(payload: bytes) -> None:
    wire = encode(payload)
    assert wire[0] == wire[-1] == 0 and 0 not in wire[1:-1]
    assert FrameDecoder().feed(wire) == [payload]


def test_documented_check_values() -> None:
    assert zlib.crc32(b"123456789") == 0xCBF43926
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    examples = re.findall(
        r"payload  ([0-9A-F ]+?) +CRC-32 0x(\w+)\n    wire     ([0-9A-F ]+)\n", text
    )
    assert len(examples) == 2
    for payload, crc, wire in examples:
        data = bytes.fromhex(payload)
        assert data[0] == PROTOCOL_VERSION and zlib.crc32(data) == int(crc, 16)
        assert encode(data) == bytes.fromhex(wire)


@given(st.lists(payloads, max_size=5), st.integers(1, 40))
def test_frames_survive_any_cutting(payloads: list[bytes], step: int) -> None:
    wire = b"".join(map(encode, payloads))
    decoder = FrameDecoder()
    got = [p for i in range(0, len(wire), step) for p in decoder.feed(wire[i : i + step])]
    assert got == payloads


@given(st.binary(max_size=400), payloads)
def test_a_frame_after_garbage_is_found(garbage: bytes, payload: bytes) -> None:
    assert FrameDecoder().feed(garbage + encode(payload))[-1] == payload


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    FrameDecoder().feed(data)
    decode(data)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_flipped_bit_is_noticed(payload: bytes, data: st.DataObject) -> None:
    wire = bytearray(encode(payload))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert set(FrameDecoder().feed(bytes(wire))) <= {payload}


def test_endless_noise_takes_bounded_memory() -> None:
    decoder = FrameDecoder()
    for _ in range(50):
        decoder.feed(b"\x55" * 100_000)
    assert len(decoder._block) < 200_000
    assert decoder.feed(encode(b"still here")) == [b"still here"]
