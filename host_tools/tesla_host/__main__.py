"""`python -m tesla_host`: the command line without its script, as torchrun starts it."""

from tesla_host.cli import main

if __name__ == "__main__":
    main()
