"""The command line: the script's entry point, and `python -m tesla_host`, as torchrun starts it."""

from tesla_host.interrupt import end_interrupted, leaving_at_once


def main() -> None:
    """Load the program and run it; Ctrl-C ends it quietly from here on."""
    try:
        with leaving_at_once():
            from tesla_host import cli
        cli.main()
    except KeyboardInterrupt:
        end_interrupted()


if __name__ == "__main__":
    main()
