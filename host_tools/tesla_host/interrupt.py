"""The end of a command that was interrupted: one word, and the exit code that shells expect.

Imports nothing of ours, so that Ctrl-C has an answer before the rest of the program is loaded.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C."""
_WORD = "interrupted"


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """While the program loads, end it on Ctrl-C there and then: there is nothing to clean up yet.

    An exception would do no better: within an import it may surface as another one. A process that
    ignores Ctrl-C goes on doing so.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_interrupted() -> NoReturn:
    """Say so and exit. Whoever goes on pressing Ctrl-C does not change the exit code any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr.write(f"{_WORD}\n")
    sys.exit(INTERRUPTED)


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an exception is, or arose from, Ctrl-C: a library's import may hide it so."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _leave(_signal: int, _frame: object) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, f"{_WORD}\n".encode())
    os._exit(INTERRUPTED)
