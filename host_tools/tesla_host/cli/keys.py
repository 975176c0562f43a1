"""Keys as they are pressed, without Enter, where standard input is a terminal.

In: the terminal. Out: a function that tells which keys were pressed since it was last asked.
However its user ends, the terminal is left as it was found.
"""

import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator

NEXT, PREVIOUS = "next", "previous"
_ARROWS = {b"\x1b[C": NEXT, b"\x1b[B": NEXT, b"\x1b[D": PREVIOUS, b"\x1b[A": PREVIOUS}

Pressed = Callable[[], list[str]]


@contextlib.contextmanager
def keys() -> Iterator[Pressed]:
    """A function that returns letters, and `NEXT` and `PREVIOUS` for arrows; never waits."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        yield _pressed_on_windows
        return
    if not sys.stdin.isatty():
        yield list
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield lambda: _pressed(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def split_keys(data: bytes) -> list[str]:
    """What the bytes of a terminal mean; unknown sequences mean nothing."""
    found: list[str] = []
    while data:
        arrow = _ARROWS.get(data[:3])
        if arrow is not None:
            found.append(arrow)
        elif data[:1] != b"\x1b":
            found.append(chr(data[0]))
        data = data[3 if data[:1] == b"\x1b" else 1 :]
    return found


def _pressed(descriptor: int) -> list[str]:
    if not select.select([descriptor], [], [], 0)[0]:
        return []
    return split_keys(os.read(descriptor, 64))


def _pressed_on_windows() -> list[str]:
    found: list[str] = []
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            found.append(msvcrt.getwch())
    return found
