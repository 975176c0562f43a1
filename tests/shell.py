"""The command line, called in this process."""

import sys

from tesla_host.cli import main


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    old, sys.argv = sys.argv, ["tesla-embed", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = old
    return 0
