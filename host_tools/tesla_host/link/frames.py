"""Frames of the serial link: payload ↔ bytes on the wire (docs/protocol.md).

In: payloads (header and body). Out: COBS between zero delimiters, closed by a CRC-32. Refuses
nothing loudly: a frame that is damaged, cut short or endless is dropped, as on the device.
"""

import zlib

from cobs import cobs

PROTOCOL_VERSION = 2
CRC_BYTES = 4
LONGEST_PAYLOAD = 65_100
"""Bytes: beyond any `max_body` that the protocol allows."""


def encode(payload: bytes) -> bytes:
    """Wrap a payload for the wire, with a delimiter on both sides (the first ends any noise)."""
    sealed = payload + zlib.crc32(payload).to_bytes(CRC_BYTES, "little")
    return b"\0" + bytes(cobs.encode(sealed)) + b"\0"


def decode(block: bytes) -> bytes | None:
    """The payload of what stood between two delimiters, or None if it is no sound frame."""
    try:
        sealed = bytes(cobs.decode(block))
    except cobs.DecodeError:
        return None
    payload, crc = sealed[:-CRC_BYTES], sealed[-CRC_BYTES:]
    if len(crc) < CRC_BYTES or zlib.crc32(payload).to_bytes(CRC_BYTES, "little") != crc:
        return None
    return payload


class FrameDecoder:
    """Collects bytes as they come and gives payloads; never holds more than one frame."""

    def __init__(self) -> None:
        self._block = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take received bytes; return the payloads of the sound frames that they completed."""
        payloads: list[bytes] = []
        *ended, rest = data.split(b"\0")
        for part in ended:
            self._block += part
            payload = decode(bytes(self._block)) if self._block else None
            if payload is not None:
                payloads.append(payload)
            self._block.clear()
        self._block += rest
        del self._block[2 * LONGEST_PAYLOAD :]
        return payloads
