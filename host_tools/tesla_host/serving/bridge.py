"""Carry bytes between a running firmware and whoever opens its line.

In: a `Pipe` to a firmware and a `Line`. Out: nothing; returns when it is told to stop. Raises
`DeviceError` when the firmware ends or faults.

One thread serves both ends, because an emulator runs only while it is read from. The firmware gets
the time in slices, so that the client and the end are noticed.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

from tesla_embed.errors import DeviceError
from tesla_host.link.pipes import Pipe
from tesla_host.serving.lines import Line

_LIVELY_S = 1.0
"""How long after the last byte the next one is awaited closely."""
_CLOSE_S, _FAR_S = 0.002, 0.02
_IDLE_S = 0.05
_SIGNAL_S = 0.2
_BOOT_S = 30.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether, and by which signal, the program was asked to end."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def ask(self, number: int, _frame: object) -> None:
        """A signal handler. Asked twice, it interrupts whatever goes on."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    def __call__(self) -> bool:
        """Whether it was asked."""
        return self.signal is not None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Have Ctrl-C and SIGTERM ask politely while the body runs; in the main thread only."""
    stop = Stop()
    previous = {number: signal.signal(number, stop.ask) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def await_boot(pipe: Pipe, greeting: bytes, stopped: Callable[[], bool]) -> None:
    """Swallow what a firmware says after its reset, up to `greeting`: no client asked for it.

    Raises `DeviceError` when it does not come.
    """
    said = b""
    deadline = time.monotonic() + _BOOT_S
    while not said.endswith(greeting) and not stopped():
        said += _read(pipe, _FAR_S)
        if time.monotonic() > deadline:
            raise DeviceError(f"the firmware did not start: it said {said[-80:]!r}; build it again")


def serve(pipe: Pipe, line: Line, stopped: Callable[[], bool]) -> None:
    """Serve clients one after the other until `stopped`."""
    last = time.monotonic()
    wait_s = 0.0
    while not stopped():
        try:
            data = line.receive(wait_s)
            if data:
                pipe.write(data)
            lively = time.monotonic() - last < _LIVELY_S
            start = time.monotonic()
            output = b"" if line.blocked else _read(pipe, _CLOSE_S if lively else _FAR_S)
        except DeviceError:
            if _ends_soon(stopped):  # Ctrl-C reaches a firmware that is a process, too
                return
            raise
        if output:
            line.send(output)
        now = time.monotonic()
        if data or output:
            last = now
        # An emulator that has nothing to do returns at once: then it is the client's turn.
        waited = not output and now - start > _CLOSE_S / 2
        wait_s = 0.0 if waited else _CLOSE_S if lively else _IDLE_S


def _read(pipe: Pipe, timeout_s: float) -> bytes:
    pipe.timeout = timeout_s
    data = pipe.read(1)
    return data + pipe.read(pipe.in_waiting) if data else b""


def _ends_soon(stopped: Callable[[], bool]) -> bool:
    """Whether the signal that ended the firmware reaches this program, too."""
    deadline = time.monotonic() + _SIGNAL_S
    while not stopped() and time.monotonic() < deadline:
        time.sleep(_CLOSE_S)
    return stopped()
