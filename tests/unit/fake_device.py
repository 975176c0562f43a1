"""A firmware in Python behind a pipe that can lose, damage and double what passes through it."""

import struct
import zlib
from collections.abc import Callable, Iterator

from tesla_host.link.frames import FrameDecoder, encode

INPUT, OUTPUT = 700, 600
DIGEST = bytes(range(32))
LAYERS = (b"\x11" * 900, b"\x22" * 3)

Fault = Callable[[bytes], list[bytes]]


def sound(frame: bytes) -> list[bytes]:
    return [frame]


def faults(*plan: str, reset: Callable[[], None] = lambda: None) -> Fault:
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
            case "reset":
                reset()
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
        self.ran_at: int | None = None
        self.version = 2
        self.overrides: dict[int, bytes] = {}
        self.statuses: dict[int, int] = {}
        self.receive_bytes = 0
        self.closed = False
        self._pages = region_pages
        self._out = bytearray()
        self.reset()

    def reset(self) -> None:
        self.input = bytearray(INPUT)
        self.output = bytes(OUTPUT)
        self.dp = 50
        self.session, self.opened, self.last = 0, 0, 0
        self._decoder = FrameDecoder()
        self._reply: tuple[bytes, bytes] | None = None

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
                reply = self._answer(payload)
                for block in self.back(encode(reply)) if reply else []:
                    self._out += block
        return len(data)

    def reset_input_buffer(self) -> None:
        self._out.clear()

    def close(self) -> None:
        self.closed = True

    def _answer(self, request: bytes) -> bytes:
        command, sequence = request[3], int.from_bytes(request[1:3], "little")
        if command == 1:
            self.executed.append(command)
            body = self.overrides.get(command)
            return self._head(request, 0) + (self._greet(request[4:], sequence, body))
        if command == 10:
            self._write(request[4:])
            return b""
        if not self.session:
            return self._head(request, -19)
        if self._reply is not None and self._reply[0] == request:
            return self._reply[1]
        if sequence != (self.last + 1) & 0xFFFF:
            return self._head(request, -20)
        self.executed.append(command)
        self.last = sequence
        status, body = self.statuses.get(command, 0), self.overrides.get(command)
        if body is None and status == 0:
            status, body = self._execute(command, request[4:])
        self._reply = (request, self._head(request, status) + (b"" if status else body or b""))
        return self._reply[1]

    def _head(self, request: bytes, status: int) -> bytes:
        return bytes([self.version]) + request[1:3] + bytes([request[3] | 0x80, status & 0xFF])

    def _greet(self, body: bytes, sequence: int, override: bytes | None) -> bytes:
        session = int.from_bytes(body[1:], "little")
        if session != self.session:
            self.session, self.opened, self.last, self._reply = session, sequence, sequence, None
        return self.hello(body[0]) if override is None else override

    def _write(self, body: bytes) -> None:
        (offset,) = struct.unpack_from("<I", body)
        self.input[offset : offset + len(body) - 4] = body[4:]

    def _run(self) -> None:
        self.output, self.ran_at = bytes(self.input[::-1][:OUTPUT]), self.dp

    def _execute(self, command: int, body: bytes) -> tuple[int, bytes]:
        ticks = struct.pack("<II", 1000, 1500)
        match command:
            case 2:
                self.dp = body[0]
                return 0, ticks
            case 3:
                self._write(body)
                return 0, b""
            case 4:
                self._run()
                return 0, ticks * int.from_bytes(body, "little")
            case 5:
                offset, size = struct.unpack("<IH", body)
                return 0, self.output[offset : offset + size]
            case 6:
                self._run()
                layers = struct.pack("<IIII", 1, 2, 3, 4)
                return 0, layers if body[0] == 0 else b""
            case 7:
                self._run()
                layer, offset, size = struct.unpack("<HIH", body)
                data = LAYERS[layer]
                return 0, struct.pack("<I", len(data)) + data[offset : offset + size]
            case 8:
                return 0, struct.pack("<II", 8192, 300)
            case 11:
                self._write(body[4:])
                if zlib.crc32(self.input) != int.from_bytes(body[:4], "little"):
                    return -21, b""
                self._run()
                return 0, ticks + self.output[: 256 - len(ticks)]
        return 0, body

    def hello(self, first: int) -> bytes:
        def text(value: str) -> bytes:
            return bytes([len(value)]) + value.encode()

        body = struct.pack("<IHHHI", self.session, self.opened, self.last, 256, self.receive_bytes)
        body += text("9.9") + text("desk") + text("snake")
        body += struct.pack("<IB", 1_000_000, 2)
        body += text("instructions") + struct.pack("<I", 0)
        body += text("cycles") + struct.pack("<I", 1_000_000)
        body += text("model") + DIGEST + struct.pack("<IIIH", INPUT, OUTPUT, 4096, len(LAYERS))
        regions = [(25, 0.5, -3, 0.25, 4), (50, 0.125, 0, 2.0, 1)]
        listed = regions[first:] if self._pages == 1 else regions[first : first + 1]
        body += bytes([len(regions), len(listed)])
        return body + b"".join(struct.pack("<Bfifi", *region) for region in listed)
