"""Forms of a firmware's image: raw bytes, Intel HEX and UF2.

In: the segments of an ELF. Out: the bytes of a file. Refuses, with `ConfigError`, a firmware that
does not lie in the board's flash: it was built for something else.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tesla_embed.errors import ConfigError
from tesla_host.elf import Segment, read_image
from tesla_host.flash.boards import FlashBoard
from tesla_host.flash.programmers import Form
from tesla_host.flash.uf2 import encode_uf2

_ERASED = b"\xff"
_HEX_BYTES = 16
_DATA, _END, _UPPER = 0, 1, 4


def read_segments(elf: Path, board: FlashBoard) -> tuple[Segment, ...]:
    """What `elf` puts into the board's flash, by address."""
    segments = tuple(sorted(read_image(elf).segments, key=lambda segment: segment.address))
    base = board.flash.origin
    end = base + board.flash.bytes
    for segment in segments:
        if segment.address < base or segment.address + len(segment.data) > end:
            raise ConfigError(
                f"{elf} puts {len(segment.data):,} bytes at 0x{segment.address:08x}, outside the "
                f"flash of {board.name} (0x{base:08x} to 0x{end - 1:08x}); build it for the "
                f"target {board.target}"
            )
    if not segments:
        raise ConfigError(f"{elf} holds nothing to write; build it again")
    return segments


def encode_image(form: Form, segments: Sequence[Segment], board: FlashBoard) -> bytes:
    """The bytes of an image in that form; an ELF stays as it is and has no other bytes."""
    if form is Form.UF2 and board.uf2 is not None:
        return encode_uf2(segments, board.uf2.family)
    if form is Form.HEX:
        return encode_hex(segments)
    return encode_bin(segments, board.flash.origin)


def encode_bin(segments: Sequence[Segment], base: int) -> bytes:
    """Flash from `base` on as it will look; gaps hold what erased flash does."""
    end = max(segment.address + len(segment.data) for segment in segments)
    image = bytearray(_ERASED * (end - base))
    for segment in segments:
        at = segment.address - base
        image[at : at + len(segment.data)] = segment.data
    return bytes(image)


def encode_hex(segments: Sequence[Segment]) -> bytes:
    """Intel HEX with 32-bit addresses (record types 00, 01 and 04)."""
    return "".join(f"{line}\n" for line in _hex_lines(segments)).encode("ascii")


def _hex_lines(segments: Sequence[Segment]) -> Iterator[str]:
    upper = 0
    for segment in segments:
        at, end = segment.address, segment.address + len(segment.data)
        while at < end:
            if at >> 16 != upper:
                upper = at >> 16
                yield _record(0, _UPPER, upper.to_bytes(2, "big"))
            stop = min(end, at - at % _HEX_BYTES + _HEX_BYTES)  # a line never crosses 64 KiB
            data = segment.data[at - segment.address : stop - segment.address]
            yield _record(at & 0xFFFF, _DATA, data)
            at = stop
    yield _record(0, _END, b"")


def _record(address: int, kind: int, data: bytes) -> str:
    body = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return f":{body.hex().upper()}{-sum(body) & 0xFF:02X}"
