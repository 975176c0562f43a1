"""The emulator, which runs inside a Python process, in a process of its own: for several at once.

    python -m tesla_host.isolated TARGET ELF

In: bytes on standard input. Out: the firmware's on standard output. Ends when its input does.
"""

import os
import signal
import sys
from pathlib import Path

from tesla_embed.errors import TeslaEmbedError
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.pipes import Pipe, ProcessPipe
from tesla_host.targets import find_target, is_connection, open_link, open_target

_LONGEST_RUN_S = 3600.0
_SLOW_RUN_S = 120.0
"""Until a run has been measured: emulated milliseconds may be seconds of ours."""
_BLOCK = 65536


def separate_link(target: str, elf: Path, expected: ExpectedModel | None = None) -> LinkClient:
    """A client of `elf` on a target of the catalogue, which runs in a process of its own."""
    if is_connection(target) or not find_target(target).unicorn:  # which all others do anyway
        return open_link(target, elf, expected)
    command = [sys.executable, "-m", "tesla_host.isolated", target, str(elf.resolve())]
    return LinkClient(ProcessPipe(command), expected, run_timeout_s=_SLOW_RUN_S)


def serve(pipe: Pipe, source: int, sink: int) -> None:
    """Carry bytes between two file descriptors and an emulator, until `source` ends.

    An emulator stands still while nobody reads, and a read ends when the firmware waits for more.
    """
    pipe.timeout = _LONGEST_RUN_S
    while data := os.read(source, _BLOCK):
        pipe.write(data)
        while first := pipe.read():
            rest = memoryview(first + pipe.read(pipe.in_waiting))  # whole: a write wakes the reader
            while rest:
                rest = rest[os.write(sink, rest) :]


def main() -> int:
    """Emulate the firmware named on the command line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this decides when it ends
    try:
        serve(open_target(sys.argv[1], Path(sys.argv[2])), 0, 1)
    except TeslaEmbedError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
