"""Byte pipes to a running firmware, all with the face of a pyserial port.

In: a command line, or the name of a serial port or socket. Out: a `Pipe`. Refuses a port that is
missing or busy, a process that cannot start, and a device that goes away while in use, with a
one-line `DeviceError`.
"""

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import serial

from tesla_embed.errors import DeviceError


class Pipe(Protocol):
    """What the link needs of a connection: pyserial's own names and meanings."""

    timeout: float | None
    """Seconds that `read` waits for bytes; a pipe to an emulator counts emulated seconds."""

    @property
    def in_waiting(self) -> int:
        """Bytes that `read` would give at once."""

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes: fewer when `timeout` passes first."""

    def write(self, data: bytes) -> int:
        """Send all of `data`; returns its length."""

    def reset_input_buffer(self) -> None:
        """Forget what was received and not yet read."""

    def close(self) -> None:
        """End the connection; harmless when repeated."""


class DescriptorPipe:
    """A firmware at the other end of file descriptors, as a pipe or a socket gives them.

    `ended` makes the error that tells why the other end has gone.
    """

    def __init__(
        self, source: int, sink: int, ended: Callable[[], DeviceError], timeout: float | None
    ) -> None:
        self.timeout = timeout
        self._received = bytearray()
        self._source, self._sink, self._ended = source, sink, ended

    @property
    def in_waiting(self) -> int:
        """Bytes that `read` would give at once."""
        return len(self._received)

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes. Raises `DeviceError` when the other end has gone."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while len(self._received) < size:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._source], [], [], left)[0]:
                break
            self._receive()
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def write(self, data: bytes) -> int:
        """Send all of `data`, receiving meanwhile so that neither side blocks the other."""
        rest = memoryview(data)
        while rest:
            readable, writable, _ = select.select([self._source], [self._sink], [])
            if readable:
                self._receive()
            if writable:
                try:
                    rest = rest[os.write(self._sink, rest[:4096]) :]
                except (BrokenPipeError, ConnectionResetError) as error:
                    raise self._ended() from error
        return len(data)

    def reset_input_buffer(self) -> None:
        """Forget what was received and not yet read."""
        while select.select([self._source], [], [], 0)[0] and os.read(self._source, 65536):
            pass
        self._received.clear()

    def _receive(self) -> None:
        try:
            data = os.read(self._source, 65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise self._ended()
        self._received += data


class ProcessPipe(DescriptorPipe):
    """A native firmware as a child process, over its standard input and output.

    The process has a session of its own: Ctrl-C at a terminal reaches only whoever started it, who
    ends it by closing its input.
    """

    def __init__(self, command: Sequence[str], timeout: float | None = 1.0) -> None:
        self._name = command[0]
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceError(
                f"cannot start {self._name}: {error.strerror}; build the firmware again"
            ) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        source, sink = self._process.stdout.fileno(), self._process.stdin.fileno()
        super().__init__(source, sink, self._gone, timeout)

    def close(self) -> None:
        """End the process: closing its input is its signal to leave."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _gone(self) -> DeviceError:
        try:
            status: int | None = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            status = None
        how = "closed its output" if status is None else f"ended with status {status}"
        return DeviceError(f"the firmware process {self._name} {how}; see its messages on stderr")


class SerialPipe:
    """A serial port or a socket through pyserial, with its failures as one line."""

    def __init__(self, url: str, baud: int = 115_200, timeout: float | None = 1.0) -> None:
        self._url = url
        try:
            self._port = serial.serial_for_url(url, baudrate=baud, timeout=timeout, exclusive=True)
        except (OSError, ValueError, TypeError) as error:
            raise DeviceError(
                f"cannot open {url}: {_reason(error)}; is the board plugged in, and the port free?"
            ) from error

    @property
    def timeout(self) -> float | None:
        """Seconds that `read` waits."""
        value: float | None = self._port.timeout
        return value

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        with self._guarded():
            self._port.timeout = seconds

    @property
    def in_waiting(self) -> int:
        """Bytes that `read` would give at once."""
        with self._guarded():
            return int(self._port.in_waiting)

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes."""
        with self._guarded():
            return bytes(self._port.read(size))

    def write(self, data: bytes) -> int:
        """Send all of `data`."""
        with self._guarded():
            self._port.write(data)
            return len(data)

    def reset_input_buffer(self) -> None:
        """Forget what was received and not yet read."""
        with self._guarded():
            self._port.reset_input_buffer()

    def close(self) -> None:
        """Close the port."""
        with contextlib.suppress(OSError):
            self._port.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (OSError, TypeError) as error:  # pyserial: TypeError after an unplugged port closed
            raise DeviceError(
                f"lost {self._url}: {_reason(error)}; plug the board in and try again"
            ) from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())
