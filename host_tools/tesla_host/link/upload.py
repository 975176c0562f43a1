"""An input cut into the bodies of requests, and into frames that go ahead of their inference.

In: the bytes of an input. Out: bodies of at most `max_body` bytes, or frames on the wire.
"""

from collections.abc import Iterator

from tesla_host.link.frames import PROTOCOL_VERSION, encode
from tesla_host.link.session import Command

PART_HEADER = 4
"""Bytes of a LOAD_INPUT or FEED body before the data: the offset."""
INFER_HEADER = 8
"""Bytes of an INFER body before the data: the CRC of the whole input, and the offset."""
_FEED_HEADER = bytes([PROTOCOL_VERSION, 0, 0, Command.FEED])


def parts(data: bytes, offset: int, room: int) -> Iterator[bytes]:
    """Bodies of requests that write `data` from byte `offset` on, `room` bytes in each."""
    for start in range(0, len(data), room):
        yield (offset + start).to_bytes(4, "little") + data[start : start + room]


def feed_frames(data: bytes, offset: int, max_body: int) -> bytes:
    """FEED requests that write `data` from byte `offset` on, framed, one behind the other."""
    return b"".join(
        encode(_FEED_HEADER + part) for part in parts(data, offset, max_body - PART_HEADER)
    )


def feed_ahead(data: bytes, credit: int, max_body: int) -> tuple[bytes, int]:
    """FEED requests for the beginning of `data`, and how many of its bytes are in them.

    Whole requests only, as many as take at most `credit` bytes on the wire together.
    """
    frames, fed = b"", 0
    for part in parts(data, 0, max_body - PART_HEADER):
        frame = encode(_FEED_HEADER + part)
        if len(frames) + len(frame) > credit:
            break
        frames += frame
        fed += len(part) - PART_HEADER
    return frames, fed
