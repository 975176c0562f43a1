"""Bodies of replies ↔ typed values.

In: the body of a reply with status 0. Out: frozen dataclasses. Refuses with `ProtocolError`,
naming the command and the field, every body that is too short, too long or out of range: a device
may send anything.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from tesla_embed.errors import ProtocolError

SMALLEST_MAX_BODY = 256
LARGEST_MAX_BODY = 65_000
_MOST_COUNTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One counter of a board; `hz` is 0 for a count that is no clock (instructions)."""

    name: str
    hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionIo:
    """One operating region: real value = scale · (integer - zero point)."""

    dp: int
    input_scale: float
    input_zero_point: int
    output_scale: float
    output_zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who answers, and what its model looks like.

    `max_body` and `receive_bytes` limit what may be sent: at once, and while the model runs.
    """

    max_body: int
    receive_bytes: int
    firmware_version: str
    board: str
    cpu: str
    clock_hz: int
    counters: tuple[Counter, ...]
    model: str
    digest: bytes
    input_bytes: int
    output_bytes: int
    arena_bytes: int
    layer_count: int
    regions: tuple[RegionIo, ...]

    @property
    def clock(self) -> Counter | None:
        """The first counter that is a clock; `None` where there is none."""
        return next((counter for counter in self.counters if counter.hz), None)

    def clock_us(self, ticks: Mapping[str, int]) -> float | None:
        """Microseconds by that clock; `None` where there is none, or `ticks` are not of it."""
        clock = self.clock
        if clock is None or clock.name not in ticks:
            return None
        return 1e6 * ticks[clock.name] / clock.hz


@dataclass(frozen=True, slots=True, kw_only=True)
class StackUse:
    """Bytes reserved and the most ever in use; 0 and 0 where the board cannot tell."""

    size: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSlice:
    """A part of one layer's output; `size` is the whole output's, in bytes."""

    size: int
    data: bytes


class Body:
    """A cursor over a body that can run out of bytes only with a `ProtocolError`."""

    def __init__(self, command: str, data: bytes) -> None:
        self._command = command
        self._data = data
        self._position = 0

    def take(self, size: int, field: str) -> bytes:
        """The next `size` bytes."""
        part = self._data[self._position : self._position + size]
        if len(part) < size:
            raise self.broken(f"ends inside {field}")
        self._position += size
        return part

    def unsigned(self, size: int, field: str, low: int = 0, high: int | None = None) -> int:
        """An unsigned integer of `size` bytes, within `low` .. `high`."""
        value = int.from_bytes(self.take(size, field), "little")
        if value < low or (high is not None and value > high):
            raise self.broken(f"has {field} {value}")
        return value

    def signed(self, field: str) -> int:
        """A signed integer of four bytes."""
        return int.from_bytes(self.take(4, field), "little", signed=True)

    def scale(self, field: str) -> float:
        """A single-precision number that can be a scale: finite and above zero."""
        value: float = struct.unpack("<f", self.take(4, field))[0]
        if not (math.isfinite(value) and value > 0):
            raise self.broken(f"has {field} {value}")
        return value

    def text(self, field: str) -> str:
        """A length byte and as many bytes of UTF-8 (a name cut inside a letter is mended)."""
        return self.take(self.unsigned(1, field), field).decode("utf-8", errors="replace")

    def ticks(self, counters: tuple[Counter, ...]) -> dict[str, int]:
        """One u32 for each counter."""
        return {counter.name: self.unsigned(4, counter.name) for counter in counters}

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self._position

    def rest(self) -> bytes:
        """All bytes not yet taken."""
        return self.take(self.left, "data")

    def end(self) -> None:
        """Refuse bytes that nothing has taken."""
        if self.left:
            raise self.broken(f"has {self.left} bytes too many")

    def broken(self, what: str) -> ProtocolError:
        """The error of a body that breaks the protocol."""
        return ProtocolError(
            f"{self._command}: the reply {what}; the firmware is damaged or speaks another "
            "protocol: build and load it again"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloPage:
    """One HELLO reply: `hello.regions` are those listed here, `region_count` is the total.

    `opened` is the sequence number of the HELLO that opened the session, `last` that of the request
    that was executed last.
    """

    session: int
    opened: int
    last: int
    hello: Hello
    region_count: int


def parse_hello(data: bytes) -> HelloPage:
    """Decode the body of a HELLO reply."""
    body = Body("HELLO", data)
    session, opened, last = (
        body.unsigned(size, field) for size, field in ((4, "session"), (2, "opened"), (2, "last"))
    )
    max_body = body.unsigned(2, "max_body", SMALLEST_MAX_BODY, LARGEST_MAX_BODY)
    receive_bytes = body.unsigned(4, "receive_bytes")
    firmware_version, board, cpu = (body.text(name) for name in ("version", "board", "cpu"))
    clock_hz = body.unsigned(4, "clock_hz")
    counters = tuple(
        Counter(name=body.text("counter"), hz=body.unsigned(4, "counter hz"))
        for _ in range(body.unsigned(1, "counter count", 1, _MOST_COUNTERS))
    )
    if len({counter.name for counter in counters}) < len(counters):
        raise body.broken("names a counter twice")
    model, digest = body.text("model"), body.take(32, "digest")
    sizes = [body.unsigned(4, name) for name in ("input_bytes", "output_bytes", "arena_bytes")]
    layer_count = body.unsigned(2, "layer count", 1)
    region_count = body.unsigned(1, "region count", 1, 100)
    listed = body.unsigned(1, "regions listed", 1, region_count)
    regions = tuple(_region(body) for _ in range(listed))
    body.end()
    hello = Hello(
        max_body=max_body,
        receive_bytes=receive_bytes,
        firmware_version=firmware_version,
        board=board,
        cpu=cpu,
        clock_hz=clock_hz,
        counters=counters,
        model=model,
        digest=digest,
        input_bytes=sizes[0],
        output_bytes=sizes[1],
        arena_bytes=sizes[2],
        layer_count=layer_count,
        regions=regions,
    )
    return HelloPage(
        session=session, opened=opened, last=last, hello=hello, region_count=region_count
    )


def _region(body: Body) -> RegionIo:
    return RegionIo(
        dp=body.unsigned(1, "DP percentage", 1, 100),
        input_scale=body.scale("input scale"),
        input_zero_point=body.signed("input zero point"),
        output_scale=body.scale("output scale"),
        output_zero_point=body.signed("output zero point"),
    )


def parse_ticks(
    command: str, data: bytes, counters: tuple[Counter, ...]
) -> tuple[dict[str, int], ...]:
    """Decode a body that is a list of ticks, one u32 per counter and entry."""
    body = Body(command, data)
    entries: list[dict[str, int]] = []
    while body.left:
        entries.append(body.ticks(counters))
    return tuple(entries)


def parse_stack(data: bytes) -> StackUse:
    """Decode the body of a STACK reply."""
    body = Body("STACK", data)
    size = body.unsigned(4, "size")
    used = body.unsigned(4, "use", 0, size)
    body.end()
    return StackUse(size=size, used=used)


def parse_slice(data: bytes, offset: int, asked: int, largest: int) -> LayerSlice:
    """Decode the body of a LAYER_DUMP reply: `asked` bytes from `offset` on.

    No layer's output is larger than `largest` bytes, the largest of the model's buffers.
    """
    body = Body("LAYER_DUMP", data)
    size = body.unsigned(4, "size", 0, largest)
    part = body.rest()
    if len(part) != min(asked, max(0, size - offset)):
        raise body.broken(f"has {len(part)} of the layer's {size} bytes")
    return LayerSlice(size=size, data=part)


def parse_inference(data: bytes, hello: Hello) -> tuple[dict[str, int], bytes]:
    """Decode the body of an INFER reply: the run's ticks and the beginning of the output."""
    body = Body("INFER", data)
    ticks = body.ticks(hello.counters)
    room = hello.max_body - 4 * len(hello.counters)
    output = body.take(min(hello.output_bytes, room), "output")
    body.end()
    return ticks, output
