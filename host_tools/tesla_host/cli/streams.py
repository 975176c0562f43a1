"""Standard streams that whoever started the command has closed (in a shell: `>&-`).

Without them Python has no `sys.stdout` or `sys.stderr`, `print` says nothing or goes to the other
one, and the next file that is opened takes their place, where every child process would write.
"""

import errno
import io
import os
import sys
from pathlib import Path
from typing import NoReturn


class Closed(io.TextIOBase):
    """A stream whose every write fails, as on a full device; messages that none reads are fine."""

    def write(self, _text: str) -> NoReturn:
        """Raise `OSError`."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def stand_in() -> None:
    """Fill the places of closed streams: stdout then refuses what is printed, stderr drops it."""
    for descriptor, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            _occupy(descriptor)
    if sys.stdout is None:
        sys.stdout = Closed()
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until we end


def _occupy(descriptor: int) -> None:
    """Have a file descriptor lead nowhere, unless it is in use."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
        os.set_inheritable(descriptor, True)
