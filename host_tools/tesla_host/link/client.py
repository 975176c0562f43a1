"""The client of the serial link.

In: a `Pipe` to a firmware. Out: typed replies. Refuses a firmware of another model
(`WrongFirmware`), answers that break the protocol or report a failure (`ProtocolError`), silence
(`LinkTimeout`), and arguments that the firmware's own description rules out (`ConfigError`).

A request that gets no answer is sent again with the SAME sequence number; the firmware then repeats
its reply instead of executing twice, so that a lost reply never runs a network a second time.
"""

import time
from dataclasses import dataclass, replace
from enum import IntEnum

from tesla_embed.errors import ConfigError, LinkTimeout, ProtocolError, WrongFirmware
from tesla_host.link import replies
from tesla_host.link.frames import PROTOCOL_VERSION, FrameDecoder, encode
from tesla_host.link.pipes import Pipe
from tesla_host.link.replies import Hello, LayerSlice, StackUse

_REPLY = 0x80
_HEADER_BYTES = 5
_NOISE_BYTES = 4 * 70_000
"""What may arrive in one attempt without a reply in it, before the attempt counts as failed."""


class Command(IntEnum):
    """The commands of docs/protocol.md."""

    HELLO = 1
    SET_DP = 2
    LOAD_INPUT = 3
    RUN = 4
    READ_OUTPUT = 5
    LAYER_TICKS = 6
    LAYER_DUMP = 7
    STACK = 8
    ECHO = 9


_STATUS = {
    -1: "argument out of range (TESLA_ERROR_ARGUMENT)",
    -2: "no such operating region (TESLA_ERROR_REGION)",
    -3: "the model is not ready, or failed (TESLA_ERROR_STATE)",
    -16: "another protocol version (TESLA_LINK_ERROR_VERSION)",
    -17: "unknown command (TESLA_LINK_ERROR_COMMAND)",
    -18: "body of a wrong length (TESLA_LINK_ERROR_LENGTH)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedModel:
    """The model that the firmware must have been built from; `digest` is its SHA-256."""

    name: str
    digest: bytes


class LinkClient:
    """Speaks to one firmware. Every method may raise `DeviceError` and its kinds.

    `timeout_s` bounds the wait for a short command's reply, `run_timeout_s` the wait for each
    inference; after `retries` repetitions without an answer comes `LinkTimeout`.
    """

    def __init__(
        self,
        pipe: Pipe,
        expected: ExpectedModel | None = None,
        *,
        timeout_s: float = 1.0,
        run_timeout_s: float = 15.0,
        retries: int = 3,
    ) -> None:
        self._pipe = pipe
        self._expected = expected
        self._timeout_s = timeout_s
        self._run_timeout_s = run_timeout_s
        self._retries = retries
        self._sequence = 0
        self._decoder = FrameDecoder()
        self._hello: Hello | None = None

    def __enter__(self) -> "LinkClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pipe."""
        self._pipe.close()

    def hello(self) -> Hello:
        """Ask who is there; asked once, then remembered. Every other command begins with it."""
        if self._hello is None:
            page = replies.parse_hello(self._request(Command.HELLO, b"\0"))
            hello = page.hello
            while len(hello.regions) < page.region_count:
                listed = len(hello.regions)
                more = replies.parse_hello(self._request(Command.HELLO, bytes([listed]))).hello
                if replace(more, regions=()) != replace(hello, regions=()):
                    raise ProtocolError("HELLO: the firmware changed between two replies; retry")
                hello = replace(hello, regions=hello.regions + more.regions)
            _check_regions(hello, page.region_count)
            self._check_model(hello)
            self._hello = hello
        return self._hello

    def set_dp(self, dp: int) -> dict[str, int]:
        """Select the operating region of `dp` percent; returns the ticks that it took."""
        known = [region.dp for region in self.hello().regions]
        if dp not in known:
            raise ConfigError(
                f"{self.hello().model} has no operating region of {dp} %; it has "
                + ", ".join(map(str, known))
            )
        entries = self._ticks(Command.SET_DP, bytes([dp]))
        return _expect(entries, 1, "SET_DP")[0]

    def load_input(self, data: bytes, offset: int = 0) -> None:
        """Write `data` into the input buffer from byte `offset` on, in as many parts as needed."""
        hello = self.hello()
        if offset < 0 or offset + len(data) > hello.input_bytes:
            raise ConfigError(
                f"input of {len(data)} bytes at {offset} does not fit {hello.model}'s "
                f"{hello.input_bytes} bytes"
            )
        room = hello.max_body - 4
        for start in range(0, len(data), room):
            where = (offset + start).to_bytes(4, "little")
            self._empty(Command.LOAD_INPUT, where + data[start : start + room])

    def run(self, count: int = 1) -> tuple[dict[str, int], ...]:
        """Run the loaded input `count` times; returns each run's ticks, by counter name."""
        if count < 1:
            raise ConfigError(f"run count {count}: at least 1")
        hello = self.hello()
        most = hello.max_body // (4 * len(hello.counters))
        entries: list[dict[str, int]] = []
        while len(entries) < count:
            runs = min(most, count - len(entries))
            got = self._ticks(Command.RUN, runs.to_bytes(2, "little"), runs)
            entries += _expect(got, runs, "RUN")
        return tuple(entries)

    def read_output(self, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of the output buffer: all from `offset` on, or `size` of them."""
        hello = self.hello()
        end = hello.output_bytes if size is None else offset + size
        if not 0 <= offset <= end <= hello.output_bytes:
            raise ConfigError(
                f"output bytes {offset} .. {end} of {hello.output_bytes} do not exist"
            )
        parts: list[bytes] = []
        for start in range(offset, end, hello.max_body):
            length = min(hello.max_body, end - start)
            request = start.to_bytes(4, "little") + length.to_bytes(2, "little")
            part = self._request(Command.READ_OUTPUT, request)
            if len(part) != length:
                raise ProtocolError(f"READ_OUTPUT: {len(part)} bytes came, {length} were asked for")
            parts.append(part)
        return b"".join(parts)

    def infer(self, data: bytes) -> bytes:
        """One inference: int8 input to int8 output, both as bytes."""
        if len(data) != self.hello().input_bytes:
            raise ConfigError(
                f"input has {len(data)} bytes, {self.hello().model} takes "
                f"{self.hello().input_bytes}"
            )
        self.load_input(data)
        self.run()
        return self.read_output()

    def layer_ticks(self) -> tuple[dict[str, int], ...]:
        """Run the loaded input once; returns each layer's ticks, by counter name."""
        count = self.hello().layer_count
        entries: list[dict[str, int]] = []
        while len(entries) < count:
            first = len(entries).to_bytes(2, "little")
            got = self._ticks(Command.LAYER_TICKS, first, 1 if not entries else 0)
            if not got or len(entries) + len(got) > count:
                raise ProtocolError(
                    f"LAYER_TICKS: {len(entries) + len(got)} of {count} layers came"
                )
            entries += got
        return tuple(entries)

    def layer_slice(self, layer: int, offset: int, size: int) -> LayerSlice:
        """Run the loaded input once; returns up to `size` bytes of one layer's output."""
        hello = self.hello()
        if not (0 <= layer < hello.layer_count and offset >= 0 and 0 <= size <= hello.max_body - 4):
            raise ConfigError(f"layer {layer}, {size} bytes at {offset}: out of range")
        request = layer.to_bytes(2, "little") + offset.to_bytes(4, "little")
        data = self._request(Command.LAYER_DUMP, request + size.to_bytes(2, "little"), runs=1)
        largest = max(hello.arena_bytes, hello.input_bytes, hello.output_bytes)
        return replies.parse_slice(data, offset, size, largest)

    def layer_dump(self, layer: int) -> bytes:
        """One layer's whole output; runs the loaded input once for each `max_body` bytes."""
        room = self.hello().max_body - 4
        dump = b""
        while True:
            part = self.layer_slice(layer, len(dump), room)
            dump += part.data
            if len(dump) >= part.size:
                return dump

    def stack(self) -> StackUse:
        """The stack's size and the most that was ever in use."""
        self.hello()
        return replies.parse_stack(self._request(Command.STACK, b""))

    def echo(self, data: bytes) -> bytes:
        """Send bytes there and back; raises `ProtocolError` when others return."""
        if len(data) > self.hello().max_body:
            raise ConfigError(f"echo of {len(data)} bytes: at most {self.hello().max_body}")
        back = self._request(Command.ECHO, data)
        if back != data:
            raise ProtocolError("ECHO: other bytes came back; check the wiring and the baud rate")
        return back

    def _check_model(self, hello: Hello) -> None:
        expected = self._expected
        if expected is not None and expected.digest != hello.digest:
            raise WrongFirmware(
                f"the firmware runs {hello.model} ({hello.digest.hex()[:12]}), not "
                f"{expected.name} ({expected.digest.hex()[:12]}); build and load that one"
            )

    def _ticks(self, command: Command, body: bytes, runs: int = 0) -> tuple[dict[str, int], ...]:
        counters = self.hello().counters
        return replies.parse_ticks(command.name, self._request(command, body, runs), counters)

    def _empty(self, command: Command, body: bytes) -> None:
        if self._request(command, body):
            raise ProtocolError(f"{command.name}: the reply has a body where none is due")

    def _request(self, command: Command, body: bytes, runs: int = 0) -> bytes:
        """Send, wait, repeat; returns the body of the reply."""
        if self._hello is None and command is not Command.HELLO:
            self.hello()
        self._sequence = (self._sequence + 1) & 0xFFFF
        sequence = self._sequence.to_bytes(2, "little")
        frame = encode(bytes([PROTOCOL_VERSION]) + sequence + bytes([command]) + body)
        timeout_s = self._timeout_s + runs * self._run_timeout_s
        for _ in range(self._retries + 1):
            self._pipe.write(frame)
            reply = self._receive(sequence + bytes([command | _REPLY]), timeout_s)
            if reply is not None:
                return _body(command, reply)
        raise LinkTimeout(
            f"{command.name}: no answer in {self._retries + 1} attempts of {timeout_s:g} s; is the "
            "firmware loaded and running, and the baud rate right?"
        )

    def _receive(self, wanted: bytes, timeout_s: float) -> bytes | None:
        """The reply that begins (after its version) with `wanted`; None when it does not come."""
        deadline = time.monotonic() + timeout_s
        noise = 0
        while noise < _NOISE_BYTES:
            self._pipe.timeout = timeout_s
            data = self._pipe.read(max(1, self._pipe.in_waiting))
            for payload in self._decoder.feed(data):
                if len(payload) >= _HEADER_BYTES and payload[1:4] == wanted:
                    return payload
            noise += len(data)
            if not data or (not self._pipe.in_waiting and time.monotonic() > deadline):
                break
        return None


def _body(command: Command, reply: bytes) -> bytes:
    if reply[0] != PROTOCOL_VERSION:
        raise ProtocolError(
            f"the firmware speaks protocol version {reply[0]}, this program {PROTOCOL_VERSION}; "
            "build and load the firmware again"
        )
    status = int.from_bytes(reply[4:5], signed=True)
    if status != 0:
        raise ProtocolError(f"{command.name}: the firmware says: {_STATUS.get(status, status)}")
    return reply[_HEADER_BYTES:]


def _expect(
    entries: tuple[dict[str, int], ...], count: int, command: str
) -> tuple[dict[str, int], ...]:
    if len(entries) != count:
        raise ProtocolError(f"{command}: the reply has {len(entries)} entries, {count} were due")
    return entries


def _check_regions(hello: Hello, count: int) -> None:
    percents = [region.dp for region in hello.regions]
    if len(percents) != count or sorted(set(percents)) != percents:
        raise ProtocolError(f"HELLO: the regions {percents} are not {count} ascending percentages")
