"""The client of the serial link.

In: a `Pipe` to a firmware. Out: typed replies. Refuses a firmware of another model
(`WrongFirmware`), answers that break the protocol or report a failure (`ProtocolError`), silence
(`LinkTimeout`), and arguments that the firmware's own description rules out (`ConfigError`).

`session` sees to it that a request is executed once. The client knows what the firmware should
hold (region, input, output) and puts it back after a reset, so that a caller never sees one.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tesla_embed.errors import ConfigError, DeviceError, ProtocolError, WrongFirmware
from tesla_host.link import replies
from tesla_host.link.pipes import Pipe
from tesla_host.link.replies import Hello, HelloPage, LayerSlice, StackUse
from tesla_host.link.session import (
    ERROR_INPUT,
    Command,
    DeviceReset,
    Events,
    Patience,
    RequestRefused,
    Session,
)
from tesla_host.link.upload import INFER_HEADER, PART_HEADER, feed_ahead, feed_frames, parts

__all__ = ["Command", "ExpectedModel", "Inference", "LinkClient"]

_MOST_RESETS = 16
"""In the course of one request, before the board counts as broken."""
_MOST_RELOADS = 8
_RUN_MARGIN = 4.0
"""A run may take so many times as long as the longest one so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedModel:
    """The model that the firmware must have been built from; `digest` is its SHA-256."""

    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Inference:
    """One run: what it cost, by counter name, and the whole output."""

    ticks: dict[str, int]
    output: bytes


@dataclass(frozen=True, slots=True)
class _State:
    """What the firmware was told; `None`: nothing since its reset."""

    dp: int | None = None
    input: bytes | None = None


class LinkClient:
    """Speaks to one firmware. Every method may raise `DeviceError` and its kinds.

    `timeout_s`, `run_timeout_s`, `retries`, `baud` and `replug_s` are those of `Patience`;
    `run_timeout_s` counts until a run in the same region has been measured. With `reopen`, a port
    that disappears is opened again.
    """

    def __init__(
        self,
        pipe: Pipe,
        expected: ExpectedModel | None = None,
        *,
        timeout_s: float = 1.0,
        run_timeout_s: float = 15.0,
        retries: int = 3,
        baud: int = 115_200,
        reopen: Callable[[], Pipe] | None = None,
        replug_s: float = 30.0,
    ) -> None:
        patience = Patience(
            answer_s=timeout_s, run_s=run_timeout_s, retries=retries, baud=baud, replug_s=replug_s
        )
        self._session = Session(pipe, reopen, patience)
        self._expected = expected
        self._hello: Hello | None = None
        self._state = _State()
        self._ran: _State | None = None
        self._ahead = False
        self._epoch = 0
        self._run_s: dict[int | None, float] = {}

    @property
    def events(self) -> Events:
        """What went wrong so far and was mended."""
        return self._session.events

    def __enter__(self) -> "LinkClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pipe."""
        self._session.close()

    def hello(self) -> Hello:
        """Ask who is there; asked once, then remembered. Every other command begins with it."""
        if self._hello is None:
            for _ in range(_MOST_RESETS):
                try:
                    hello = self._all_pages()
                    break
                except DeviceReset:
                    continue
            else:
                raise _restless()
            self._check_model(hello)
            self._hello = hello
        return self._hello

    def _all_pages(self) -> Hello:
        page = self._session.hello()
        hello = page.hello
        while len(hello.regions) < page.region_count:
            more = self._session.hello(len(hello.regions)).hello
            if replace(more, regions=()) != replace(hello, regions=()):
                raise ProtocolError("HELLO: the firmware changed between two replies; retry")
            hello = replace(hello, regions=hello.regions + more.regions)
        _check_regions(hello, page)
        return hello

    def set_dp(self, dp: int) -> dict[str, int]:
        """Select the operating region of `dp` percent; returns the ticks that it took."""
        known = [region.dp for region in self.hello().regions]
        if dp not in known:
            raise ConfigError(
                f"{self.hello().model} has no operating region of {dp} %; it has "
                + ", ".join(map(str, known))
            )
        entries = self._ticks(Command.SET_DP, bytes([dp]))
        self._state = replace(self._state, dp=dp)
        return _expect(entries, 1, "SET_DP")[0]

    def load_input(self, data: bytes, offset: int = 0) -> None:
        """Write `data` into the input buffer from byte `offset` on, in as many parts as needed."""
        hello = self.hello()
        if offset < 0 or offset + len(data) > hello.input_bytes:
            raise ConfigError(
                f"input of {len(data)} bytes at {offset} does not fit {hello.model}'s "
                f"{hello.input_bytes} bytes"
            )
        before = self._state.input or bytes(hello.input_bytes)
        whole = before[:offset] + data + before[offset + len(data) :]
        self._state = replace(self._state, input=whole)  # first: a reset in between restores it
        if self._ahead:  # what was fed for another inference stands in its place
            offset, data, self._ahead = 0, whole, False
        for part in parts(data, offset, hello.max_body - PART_HEADER):
            self._empty(Command.LOAD_INPUT, part)

    def run(self, count: int = 1) -> tuple[dict[str, int], ...]:
        """Run the loaded input `count` times; returns each run's ticks, by counter name."""
        if count < 1:
            raise ConfigError(f"run count {count}: at least 1")
        hello = self.hello()
        self._settle()
        most = hello.max_body // (4 * len(hello.counters))
        entries: list[dict[str, int]] = []
        while len(entries) < count:
            runs = min(most, count - len(entries))
            timer = self._timer()
            got = _expect(self._ticks(Command.RUN, runs.to_bytes(2, "little"), runs), runs, "RUN")
            self._note_run(got, timer() / runs)
            entries += got
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
        return next(self.infer_many([data])).output

    def infer_many(self, samples: Iterable[bytes]) -> Iterator[Inference]:
        """One inference after the other. Where the board can receive while the model runs, the
        next input travels meanwhile."""
        hello = self.hello()
        coming = iter(samples)
        data, fed = next(coming, None), 0
        while data is not None:
            if len(data) != hello.input_bytes:
                raise ConfigError(
                    f"input has {len(data)} bytes, {hello.model} takes {hello.input_bytes}"
                )
            following = next(coming, None)
            inference, fed = self._infer(data, fed, following or b"")
            yield inference
            data = following

    def _infer(self, data: bytes, fed: int, following: bytes) -> tuple[Inference, int]:
        """Run on `data`, `fed` bytes of which are there; returns how many of `following` went."""
        hello = self.hello()
        self._state = replace(self._state, input=data)
        last = max(fed, len(data) - (hello.max_body - INFER_HEADER))
        if hello.receive_bytes:
            self._session.send_only(feed_frames(data[fed:last], fed, hello.max_body))
        else:
            for part in parts(data[:last], 0, hello.max_body - PART_HEADER):
                self._empty(Command.LOAD_INPUT, part)
        ahead, next_fed = feed_ahead(following, hello.receive_bytes, hello.max_body)
        self._ahead = bool(ahead)
        crc, epoch = zlib.crc32(data).to_bytes(4, "little"), self._epoch
        body = crc + last.to_bytes(4, "little") + data[last:]
        for _ in range(_MOST_RELOADS):
            try:
                timer = self._timer()
                reply = self._request(Command.INFER, body, 1, ahead)
            except RequestRefused as error:
                if error.status != ERROR_INPUT:
                    raise
                self.events.reloads += 1
                self._ahead, ahead, next_fed = False, b"", 0
                self.load_input(data)
                body = crc + bytes(4)
                continue
            ticks, output = replies.parse_inference(reply, hello)
            self._note_run((ticks,), timer())
            if epoch != self._epoch:
                next_fed = 0
            return Inference(ticks, output + self.read_output(len(output))), next_fed
        raise ProtocolError("INFER: the input arrives damaged each time; check the board's memory")

    def layer_ticks(self) -> tuple[dict[str, int], ...]:
        """Run the loaded input once; returns each layer's ticks, by counter name."""
        count = self.hello().layer_count
        self._settle()
        entries: list[dict[str, int]] = []
        epoch = self._epoch
        while len(entries) < count:
            first = len(entries).to_bytes(2, "little")
            got = self._ticks(Command.LAYER_TICKS, first, 0 if entries else 1)
            if epoch != self._epoch and entries:  # these are of no run: the list starts again
                entries, epoch = [], self._epoch
                continue
            epoch = self._epoch
            if not entries:
                self._ran = self._state
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
        self._settle()
        request = layer.to_bytes(2, "little") + offset.to_bytes(4, "little")
        data = self._request(Command.LAYER_DUMP, request + size.to_bytes(2, "little"), runs=1)
        self._ran = self._state
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

    def _request(self, command: Command, body: bytes, runs: int = 0, ahead: bytes = b"") -> bytes:
        """Have a request executed, on a firmware that is in the state that it should be in."""
        self.hello()
        for _ in range(_MOST_RESETS):
            try:
                allow_s = runs * self._allowed_s()
                return self._session.call(command, body, allow_s=allow_s, ahead=ahead)
            except DeviceReset:
                ahead = b""
                self._restore()
        raise _restless()

    def _restore(self) -> None:
        """After a reset: the region, the input and the output of the last run come back."""
        self._epoch += 1
        self._ahead = False
        for _ in range(_MOST_RESETS):
            try:
                if replace(self._session.hello().hello, regions=()) != replace(
                    self.hello(), regions=()
                ):
                    raise WrongFirmware(
                        f"after a reset another firmware answers, not {self.hello().model}; plug "
                        "the same board in again"
                    )
                if self._ran is not None:
                    self._bring_to(self._ran)
                    runs = (1).to_bytes(2, "little")
                    self._session.call(Command.RUN, runs, allow_s=self._allowed_s())
                self._bring_to(self._state)
                return
            except DeviceReset:
                continue
        raise _restless()

    def _bring_to(self, state: _State) -> None:
        if state.dp is not None:
            self._session.call(Command.SET_DP, bytes([state.dp]))
        if state.input is not None:
            for part in parts(state.input, 0, self.hello().max_body - PART_HEADER):
                self._session.call(Command.LOAD_INPUT, part)

    def _settle(self) -> None:
        """Where an input was fed ahead and not used, put the current one back."""
        if self._ahead and self._state.input is not None:
            self.load_input(self._state.input)

    def _allowed_s(self) -> float:
        """Seconds that a run in the current region may take."""
        known = self._run_s.get(self._state.dp)
        return self._session.patience.run_s if known is None else _RUN_MARGIN * known

    def _timer(self) -> Callable[[], float]:
        """Tells the seconds since now; 0 where some of them went into mending the line."""
        started, before = time.monotonic(), replace(self.events)
        return lambda: time.monotonic() - started if self.events == before else 0.0

    def _note_run(self, entries: tuple[dict[str, int], ...], wall_s: float) -> None:
        """Remember what was run, and how long the longest run in its region takes.

        Of the device's own clock and ours the slower one counts: an emulator's may be either.
        """
        self._ran = self._state
        dp, longest = self._state.dp, wall_s
        for counter in self.hello().counters:
            if counter.hz:
                longest = max(longest, *(entry[counter.name] / counter.hz for entry in entries))
        if longest > 0:
            self._run_s[dp] = max(longest, self._run_s.get(dp, 0.0))


def _restless() -> DeviceError:
    return DeviceError(
        f"the board was reset {_MOST_RESETS} times during one request; check its power supply, and "
        "whether a watchdog bites"
    )


def _expect(
    entries: tuple[dict[str, int], ...], count: int, command: str
) -> tuple[dict[str, int], ...]:
    if len(entries) != count:
        raise ProtocolError(f"{command}: the reply has {len(entries)} entries, {count} were due")
    return entries


def _check_regions(hello: Hello, page: HelloPage) -> None:
    count = page.region_count
    percents = [region.dp for region in hello.regions]
    if len(percents) != count or sorted(set(percents)) != percents:
        raise ProtocolError(f"HELLO: the regions {percents} are not {count} ascending percentages")
