"""A firmware in Python behind a pipe that can lose, damage and double what passes through it."""

import struct
from collections.abc import Callable, Iterator

from tesla_host.link.frames import FrameDecoder, encode

INPUT, OUTPUT = 700, 600
DIGEST = bytes(range(32))
LAYERS = (b"\x11" * 900, b"\x22" * 3)

Fault = Callable[[bytes], list[bytes]]


def sound(frame: bytes) -> list[bytes]:
    return [frame]


def faults(*plan: str) -> Fault:
    """Apply `plan` to the frames that pass, one after the other; later ones pass unharmed."""
    steps: Iterator[str] = iter(plan)

    def apply(frame: bytes) -> list[bytes]:
        match next(steps, "pass"):
            case "drop":
                return []
            case "flip":
                return [frame[:4] + bytes([frame[4] ^ 0x40]) + frame[5:]]
            case "double":
                return [frame, frame]
            case "noise":
                return [b"\x93\x00boot: hello\r\n\x00\x05\xff", frame]
        return [frame]

    return apply


class FakeDevice:
    """Implements docs/protocol.md; `to` and `back` are the faults of the two directions."""

    def __init__(self, to: Fault = sound, back: Fault = sound, region_pages: int = 2) -> None:
        self.timeout: float | None = None
        self.to, self.back = to, back
        self.executed: list[int] = []
        self.version = 1
        self.overrides: dict[int, bytes] = {}
        self.statuses: dict[int, int] = {}
        self.input = bytearray(INPUT)
        self.closed = False
        self._pages = region_pages
        self._decoder = FrameDecoder()
        self._out = bytearray()
        self._last: tuple[bytes, bytes] | None = None

    @property
    def in_waiting(self) -> int:
        return len(self._out)

    def read(self, size: int = 1) -> bytes:
        data = bytes(self._out[:size])
        del self._out[:size]
        return data

    def write(self, data: bytes) -> int:
        for frame in self.to(data):
            for payload in self._decoder.feed(frame):
                for reply in self.back(encode(self._answer(payload))):
                    self._out += reply
        return len(data)

    def reset_input_buffer(self) -> None:
        self._out.clear()

    def close(self) -> None:
        self.closed = True

    def _answer(self, request: bytes) -> bytes:
        command = request[3]
        if self._last is None or self._last[0] != request or command == 1:
            self.executed.append(command)
            status = self.statuses.get(command, 0)
            body = self.overrides.get(command)
            if body is None:
                body = self._execute(command, request[4:]) if status == 0 else b""
            head = bytes([self.version]) + request[1:3] + bytes([command | 0x80, status & 0xFF])
            self._last = (request, head + body)
        return self._last[1]

    def _execute(self, command: int, body: bytes) -> bytes:
        ticks = struct.pack("<II", 1000, 1500)
        match command:
            case 1:
                return self.hello(body[0])
            case 2:
                return ticks
            case 3:
                (offset,) = struct.unpack_from("<I", body)
                self.input[offset : offset + len(body) - 4] = body[4:]
                return b""
            case 4:
                return ticks * int.from_bytes(body, "little")
            case 5:
                offset, size = struct.unpack("<IH", body)
                return bytes(self.input[::-1][:OUTPUT][offset : offset + size])
            case 6:
                return struct.pack("<II", 1, 2) + struct.pack("<II", 3, 4) if body[0] == 0 else b""
            case 7:
                layer, offset, size = struct.unpack("<HIH", body)
                data = LAYERS[layer]
                return struct.pack("<I", len(data)) + data[offset : offset + size]
            case 8:
                return struct.pack("<II", 8192, 300)
        return body

    def hello(self, first: int) -> bytes:
        def text(value: str) -> bytes:
            return bytes([len(value)]) + value.encode()

        body = struct.pack("<H", 256) + text("9.9") + text("desk") + text("snake")
        body += struct.pack("<IB", 1_000_000, 2)
        body += text("instructions") + struct.pack("<I", 0)
        body += text("cycles") + struct.pack("<I", 1_000_000)
        body += text("model") + DIGEST + struct.pack("<IIIH", INPUT, OUTPUT, 4096, len(LAYERS))
        regions = [(25, 0.5, -3, 0.25, 4), (50, 0.125, 0, 2.0, 1)]
        listed = regions[first:] if self._pages == 1 else regions[first : first + 1]
        body += bytes([len(regions), len(listed)])
        return body + b"".join(struct.pack("<Bfifi", *region) for region in listed)
