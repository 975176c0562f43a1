"""The client's end of a served firmware: a TCP port or a pseudo-terminal.

In: where to listen, `socket://HOST:PORT` (port 0 chooses a free one) or `pty`. Out: a `Line` that
one client at a time may open, close and open again. Refuses another form with `ConfigError`, and an
address that cannot be had with `DeviceError`. As on a wire, what is sent while nobody listens is
lost, and what a firmware says late reaches whoever listens then.
"""

import contextlib
import errno
import os
import select
import socket
import time
from typing import Protocol
from urllib.parse import urlsplit

from tesla_embed.errors import ConfigError, DeviceError

_CHUNK_BYTES = 1 << 16
_NOBODY_S = 0.02
"""How often a pseudo-terminal is asked whether somebody has opened it: nothing else would tell."""


class Line(Protocol):
    """What the bridge needs of the client's end. Nothing here blocks longer than asked."""

    address: str
    """What a client opens."""

    @property
    def blocked(self) -> bool:
        """Whether the client has yet to take what was sent: send no more."""

    def receive(self, timeout_s: float) -> bytes:
        """What the client sent; empty where nothing came, or nobody is there."""

    def send(self, data: bytes) -> None:
        """Send `data`, now or during the next `receive`; lost where nobody is there."""

    def close(self) -> None:
        """Hang up and listen no more."""


def open_line(listen: str) -> Line:
    """The line that `listen` names."""
    if listen == "pty":
        return PtyLine()
    parts = urlsplit(listen)
    with contextlib.suppress(ValueError):  # raised by a port that is none
        if parts.scheme == "socket" and parts.hostname and parts.port is not None:
            return TcpLine(parts.hostname, parts.port)
    raise ConfigError(f"cannot listen on {listen!r}; write socket://127.0.0.1:PORT or pty")


class TcpLine:
    """A TCP port. A second client waits until the first one has gone."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._server = socket.create_server((host, port), family=family, backlog=1)
        except OSError as error:
            raise DeviceError(
                f"cannot listen on {host} port {port}: {error.strerror}; choose another port, or 0"
            ) from error
        self._server.setblocking(False)
        self._client: socket.socket | None = None
        self._pending = bytearray()
        shown = f"[{host}]" if ":" in host else host
        self.address = f"socket://{shown}:{self._server.getsockname()[1]}"

    @property
    def blocked(self) -> bool:
        """Whether the client has yet to take what was sent."""
        return bool(self._pending)

    def receive(self, timeout_s: float) -> bytes:
        """What the client sent; accepts one where there is none."""
        client = self._client
        if client is None:
            self._accept(timeout_s)
            return b""
        writers = [client] if self._pending else []
        readable, writable, _ = select.select([client], writers, [], timeout_s)
        try:
            if writable:
                self._flush(client)
            if not readable:
                return b""
            data = client.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        if not data:
            self._hang_up()
        return data

    def send(self, data: bytes) -> None:
        """Send `data`."""
        if self._client is not None:
            self._pending += data
            try:
                self._flush(self._client)
            except OSError:
                self._hang_up()

    def close(self) -> None:
        """Hang up and listen no more."""
        self._hang_up()
        self._server.close()

    def _accept(self, timeout_s: float) -> None:
        if not select.select([self._server], [], [], timeout_s)[0]:
            return
        with contextlib.suppress(OSError):  # gone again
            client, _ = self._server.accept()
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client = client

    def _flush(self, client: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._pending:
                del self._pending[: client.send(self._pending)]

    def _hang_up(self) -> None:
        self._pending.clear()
        if self._client is not None:
            self._client.close()
            self._client = None


class PtyLine:
    """A pseudo-terminal: a serial port without a wire, of no particular speed."""

    def __init__(self) -> None:
        try:
            import pty  # not on every system
            import tty

            self._master, slave = pty.openpty()
            self._set_raw = tty.setraw
        except (ImportError, OSError) as error:
            raise DeviceError(
                f"no pseudo-terminal to be had: {error}; use --listen socket://127.0.0.1:0"
            ) from error
        os.set_blocking(self._master, False)
        self.address = os.ttyname(slave)
        os.close(slave)
        self._pending = bytearray()
        self._present = True
        self._leave()
        self._poll = select.poll()

    @property
    def blocked(self) -> bool:
        """Whether the client has yet to take what was sent."""
        return bool(self._pending)

    def receive(self, timeout_s: float) -> bytes:
        """What the client sent."""
        events = self._look(timeout_s, writing=bool(self._pending))
        if events & select.POLLOUT:
            self._flush()
        if events & select.POLLIN:
            try:
                return os.read(self._master, _CHUNK_BYTES)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EAGAIN):
                    raise
        if not self._present:
            time.sleep(min(timeout_s, _NOBODY_S))
        return b""

    def send(self, data: bytes) -> None:
        """Send `data`."""
        self._look(0.0, writing=False)
        if self._present:
            self._pending += data
            self._flush()

    def close(self) -> None:
        """Hang up."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def _look(self, timeout_s: float, *, writing: bool) -> int:
        """The events of the master's end; notices who comes and goes."""
        self._poll.register(self._master, select.POLLIN | (select.POLLOUT if writing else 0))
        found = self._poll.poll(timeout_s * 1000)
        events = found[0][1] if found else 0
        if events & select.POLLHUP:
            self._leave()
            return events & ~select.POLLOUT
        self._present = True
        return events

    def _leave(self) -> None:
        """The client has gone: forget what it did not read, and how it set up the terminal."""
        if not self._present:
            return
        self._present = False
        self._pending.clear()
        import termios

        slave = os.open(self.address, os.O_RDWR | os.O_NOCTTY)
        try:
            self._set_raw(slave)
            termios.tcflush(slave, termios.TCIFLUSH)
        finally:
            os.close(slave)

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._pending:
                del self._pending[: os.write(self._master, self._pending)]
