"""Boards on pseudo-terminals and sockets, with a real firmware process behind each."""

import contextlib
import os
import select
import socket
import subprocess
import threading
import tty
from pathlib import Path

import serial
from serial.rfc2217 import PortManager


class PtyBoard:
    """A firmware process behind a pseudo-terminal at `path`; it can be unplugged and plugged in."""

    def __init__(self, elf: Path | None, path: Path) -> None:
        self.path = path
        self._elf = elf
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.received = bytearray()
        self.plug_in()

    def plug_in(self, elf: Path | None = None) -> None:
        """Make the port appear; starts the firmware unless it still runs."""
        self._elf = elf or self._elf
        if self._elf is not None and self._process is None:
            self._process = subprocess.Popen(
                [str(self._elf)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        master, slave = os.openpty()
        tty.setraw(slave)
        name = os.ttyname(slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pump, args=(master, slave, self._stop))
        self._thread.start()
        self.path.symlink_to(name)

    def unplug(self, *, reset: bool) -> None:
        """Make the port vanish; the firmware is lost with it, or only its adapter is."""
        self.path.unlink()
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        if reset and self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        if self.path.is_symlink():
            self.unplug(reset=True)

    def _pump(self, master: int, slave: int, stop: threading.Event) -> None:
        process = self._process
        ends = [master]
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            ends.append(process.stdout.fileno())
        while not stop.is_set():
            for end in select.select(ends, [], [], 0.02)[0]:
                data = os.read(end, 4096)
                if end != master:
                    os.write(master, data)
                    continue
                self.received += data
                if process is not None and process.stdin is not None:
                    process.stdin.write(data)
        os.close(slave)
        os.close(master)


class PlainSerial(serial.Serial):  # type: ignore[misc]
    """A serial port without modem lines, as a pseudo-terminal is one."""

    cts = dsr = ri = cd = False

    def _update_dtr_state(self) -> None:
        pass

    def _update_rts_state(self) -> None:
        pass


class NetworkBoard:
    """A firmware process behind a TCP port, as it is or as a remote serial port (RFC 2217)."""

    def __init__(self, elf: Path, *, rfc2217: bool, folder: Path) -> None:
        self._pty = PtyBoard(elf, folder / f"tty{id(self)}")
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.05)
        self._stop = threading.Event()
        self._drop = threading.Event()
        kind = "rfc2217" if rfc2217 else "socket"
        self.url = f"{kind}://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, args=(rfc2217,))
        self._thread.start()

    def drop_connection(self) -> None:
        """Close the connection that is open; the firmware goes on, and a new one may come."""
        self._drop.set()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._server.close()
        self._pty.close()

    def _serve(self, rfc2217: bool) -> None:
        port = PlainSerial(str(self._pty.path), timeout=0)
        while not self._stop.is_set():
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            self._drop.clear()
            with connection, contextlib.suppress(OSError):
                self._bridge(connection, port, rfc2217)
        port.close()

    def _bridge(self, connection: socket.socket, port: serial.Serial, rfc2217: bool) -> None:
        class Writer:
            def write(self, data: bytes) -> None:
                connection.sendall(data)

        manager = PortManager(port, Writer()) if rfc2217 else None
        while not self._stop.is_set() and not self._drop.is_set():
            readable = select.select([connection, port.fileno()], [], [], 0.02)[0]
            if connection in readable:
                data = connection.recv(4096)
                if not data:
                    return
                port.write(b"".join(manager.filter(data)) if manager else data)
            if port.fileno() in readable:
                data = port.read(4096)
                connection.sendall(b"".join(manager.escape(data)) if manager else data)
