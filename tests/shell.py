"""The command line, called in this process."""

import signal
import sys

from tesla_host.cli import main


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    old, sys.argv = sys.argv, ["tesla-embed", *map(str, arguments)]
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = old
        signal.signal(signal.SIGINT, interrupt)  # ignored after an interrupt
    return 0
