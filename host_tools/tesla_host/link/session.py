"""One conversation with a firmware: every request is executed once, whatever the line does to it.

In: a `Pipe`, and perhaps a way to open it again. Out: bodies of replies. A request without an
answer is sent again with the SAME sequence number, which the firmware answers without executing it
again. When the line breaks, or the firmware says that it is in no session, HELLO asks it: it still
knows the session (the request goes out again), or it does not, because it was reset:
`DeviceReset`, and the caller brings it back to where it was.

Refuses silence (`LinkTimeout`), and replies of another protocol version or with an error status
(`RequestRefused`, a `ProtocolError`).
"""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tesla_embed.errors import DeviceError, LinkTimeout, ProtocolError
from tesla_host.link import replies
from tesla_host.link.frames import PROTOCOL_VERSION, FrameDecoder, encode
from tesla_host.link.pipes import Pipe
from tesla_host.link.replies import HelloPage

_REPLY = 0x80
_HEADER_BYTES = 5
_NOISE_BYTES = 4 * 70_000
"""What may arrive in one attempt without a reply in it, before the attempt counts as failed."""
_BITS_PER_BYTE = 10
"""On a serial line: a start bit, eight of data, a stop bit."""
_LONGEST_BACKOFF = 4
_REOPEN_PAUSE_S = 0.1
_ENDS_LINE = frozenset(b"\r\n\x03\x04")
_QUIET = tuple(byte for byte in range(1, 256) if byte not in _ENDS_LINE)


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
    FEED = 10
    INFER = 11


ERROR_SESSION = -19
ERROR_SEQUENCE = -20
ERROR_INPUT = -21
_STATUS = {
    -1: "argument out of range (TESLA_ERROR_ARGUMENT)",
    -2: "no such operating region (TESLA_ERROR_REGION)",
    -3: "the model is not ready, or failed (TESLA_ERROR_STATE)",
    -16: "another protocol version (TESLA_LINK_ERROR_VERSION)",
    -17: "unknown command (TESLA_LINK_ERROR_COMMAND)",
    -18: "body of a wrong length (TESLA_LINK_ERROR_LENGTH)",
    ERROR_SESSION: "no session since its reset (TESLA_LINK_ERROR_SESSION)",
    ERROR_SEQUENCE: "not the next sequence number (TESLA_LINK_ERROR_SEQUENCE)",
    ERROR_INPUT: "another input than was meant (TESLA_LINK_ERROR_INPUT)",
}


class DeviceReset(Exception):
    """The firmware has forgotten region, input and output; the session is open again."""


class RequestRefused(ProtocolError):
    """The firmware answered with an error status."""

    def __init__(self, command: str, status: int) -> None:
        super().__init__(f"{command}: the firmware says: {_STATUS.get(status, status)}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait. Seconds; after `retries` repetitions without an answer comes the end.

    `answer_s` is for the reply to a short command, beside what the bytes take at `baud` (0: no
    time), and `run_s` for each inference whose duration is not known yet; each repetition waits
    twice as long as the one before, up to four times. `replug_s` is how long a port may be gone.
    """

    answer_s: float = 1.0
    run_s: float = 15.0
    retries: int = 3
    baud: int = 115_200
    replug_s: float = 30.0

    def line_s(self, byte_count: int) -> float:
        """Seconds that so many bytes are on the line."""
        return byte_count * _BITS_PER_BYTE / self.baud if self.baud else 0.0


@dataclass(slots=True)
class Events:
    """What went wrong so far and was mended: requests repeated, boards reset, ports opened again,
    inputs loaded anew because a part that was fed had been lost."""

    repeats: int = 0
    resets: int = 0
    replugs: int = 0
    reloads: int = 0

    def __add__(self, other: "Events") -> "Events":
        return Events(
            self.repeats + other.repeats,
            self.resets + other.resets,
            self.replugs + other.replugs,
            self.reloads + other.reloads,
        )

    def __str__(self) -> str:
        parts = zip(
            (self.repeats, self.resets, self.replugs, self.reloads),
            ("requests repeated", "resets", "ports opened again", "inputs loaded anew"),
            strict=True,
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count)


class Session:
    """Requests and replies, one at a time. Every method may raise `DeviceError` and its kinds."""

    def __init__(
        self, pipe: Pipe, reopen: Callable[[], Pipe] | None = None, patience: Patience | None = None
    ) -> None:
        self.events = Events()
        self.patience = patience or Patience()
        self._pipe = pipe
        self._reopen = reopen
        self._decoder = FrameDecoder()
        self._session = int.from_bytes(
            bytes(_QUIET[i % len(_QUIET)] for i in secrets.token_bytes(4))
        )
        self._opened: int | None = None
        self._sequence = 0
        self._unsure = False

    def close(self) -> None:
        """Close the pipe."""
        self._pipe.close()

    def hello(self, first: int = 0) -> HelloPage:
        """One page of HELLO. Raises `DeviceReset` if this session was open and is so no more."""
        body = bytes([first]) + self._session.to_bytes(4, "little")
        while True:
            sequence = secrets.token_bytes(2)
            frame = encode(bytes([PROTOCOL_VERSION]) + sequence + bytes([Command.HELLO]) + body)
            # Another number than before tells a session that was opened anew. And whoever else
            # listens at a port where a board is looked for must not see the end of a line.
            quiet = first > 0 or not _ENDS_LINE.intersection(frame)
            if quiet and int.from_bytes(sequence, "little") != self._opened:
                break
        wanted = sequence + bytes([Command.HELLO | _REPLY])
        page = replies.parse_hello(
            _body(Command.HELLO, self._exchange(Command.HELLO, frame, wanted))
        )
        if page.session != self._session:
            raise ProtocolError("HELLO: the firmware answers another host; let only one use it")
        before, self._opened = self._opened, page.opened
        self._unsure = False
        if before == page.opened:
            return page
        self._sequence = page.last
        if before is not None:
            self.events.resets += 1
            raise DeviceReset
        return page

    def call(
        self, command: Command, body: bytes, *, allow_s: float = 0.0, ahead: bytes = b""
    ) -> bytes:
        """Have one request executed; returns the body of its reply.

        `allow_s` is how long the execution may take; `ahead` are frames that follow the request at
        once, which no reply answers. Raises `DeviceReset` when the firmware lost its state: the
        request is then not executed, or without a trace.
        """
        if self._unsure:
            self._resynchronise()
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._unsure = True  # until its reply is here
        sequence = self._sequence.to_bytes(2, "little")
        frame = encode(bytes([PROTOCOL_VERSION]) + sequence + bytes([command]) + body)
        wanted = sequence + bytes([command | _REPLY])
        for _ in range(self.patience.retries + 1):
            reply = self._exchange(command, frame, wanted, allow_s, ahead)
            status = int.from_bytes(reply[4:5], signed=True)
            if status not in (ERROR_SESSION, ERROR_SEQUENCE):
                self._unsure = False
                return _body(command, reply)
            page = self.hello()
            self._unsure = True
            ahead = b""
            if (page.last - self._sequence) & 0xFFFF not in (0, 0xFFFF):
                break
        raise ProtocolError(
            f"{command.name}: the firmware counts requests that this program did not send; let "
            "only one program use the port"
        )

    def send_only(self, frames: bytes) -> None:
        """Send what no reply answers."""
        try:
            self._pipe.write(frames)
        except DeviceError as error:
            self._replug(error)
            self._unsure = True

    def _resynchronise(self) -> None:
        """After a request that failed: continue behind what the firmware has executed."""
        self._sequence = self.hello().last

    def _exchange(
        self,
        command: Command,
        frame: bytes,
        wanted: bytes,
        allow_s: float = 0.0,
        ahead: bytes = b"",
    ) -> bytes:
        """Send, wait, repeat; returns the reply with its header."""
        timeout_s = self.patience.answer_s + allow_s + self.patience.line_s(len(frame) + len(ahead))
        wait_s = timeout_s
        for attempt in range(self.patience.retries + 1):
            try:
                self._pipe.write(frame if attempt else frame + ahead)
                reply = self._receive(wanted, wait_s)
            except DeviceError as error:
                self._replug(error)
                if command is not Command.HELLO:
                    self.hello()
                    self._unsure = True
                reply = None
            if reply is not None:
                return reply
            self.events.repeats += 1
            wait_s = min(2 * wait_s, _LONGEST_BACKOFF * timeout_s)
        raise LinkTimeout(
            f"{command.name}: no answer in {self.patience.retries + 1} attempts of {timeout_s:.3g} "
            "s and more; is the firmware loaded and running, and the baud rate right?"
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

    def _replug(self, error: DeviceError) -> None:
        """Open the pipe again, as often as it takes; gives up with `error`."""
        if self._reopen is None:
            raise error
        with contextlib.suppress(DeviceError):
            self._pipe.close()
        self._decoder = FrameDecoder()
        deadline = time.monotonic() + self.patience.replug_s
        while True:
            try:
                self._pipe = self._reopen()
            except DeviceError:
                if time.monotonic() > deadline:
                    raise error from None
                time.sleep(_REOPEN_PAUSE_S)
            else:
                self.events.replugs += 1
                return


def _body(command: Command, reply: bytes) -> bytes:
    if reply[0] != PROTOCOL_VERSION:
        raise ProtocolError(
            f"the firmware speaks protocol version {reply[0]}, this program {PROTOCOL_VERSION}; "
            "build and load the firmware again"
        )
    status = int.from_bytes(reply[4:5], signed=True)
    if status != 0:
        raise RequestRefused(command.name, status)
    return reply[_HEADER_BYTES:]
