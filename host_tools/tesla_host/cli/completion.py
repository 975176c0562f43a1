"""Completion on the command line: the verb `completion`, and the values that options may have.

The functions take what has been typed of a word and return what it may become.
"""

import os
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer

PROGRAM = "tesla-embed"
_VARIABLE = "_TESLA_EMBED_COMPLETE"
"""How a shell asks the program for completions; made from its name by typer."""


class Shell(StrEnum):
    """A shell whose completion is known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish")]
) -> None:
    """Print a script that completes verbs, options, targets and boards in a shell.

    `tesla-embed --install-completion` writes it to where the current shell looks for it.

    Example: eval "$(tesla-embed completion bash)"
    """
    os.environ[_VARIABLE] = f"source_{shell.value}"
    context.find_root().command.main(args=[], prog_name=PROGRAM)


def complete_target(incomplete: str) -> list[str]:
    """Names of targets, and the beginnings of connections."""
    from tesla_host.targets import target_names

    connections = ("serial:", "socket://", "rfc2217://", "auto")
    return _matching((*target_names(), *connections), incomplete)


def complete_board(incomplete: str) -> list[str]:
    """Boards that can be flashed."""
    from tesla_host.flash.boards import FLASH_BOARDS

    return _matching((board.name for board in FLASH_BOARDS), incomplete)


def complete_programmer(incomplete: str) -> list[str]:
    """Programs that flash."""
    from tesla_host.flash.programmers import PROGRAMMERS

    return _matching((programmer.name for programmer in PROGRAMMERS), incomplete)


def complete_app(incomplete: str) -> list[str]:
    """What a firmware can speak."""
    from tesla_host.apps import APPS

    return _matching((app.name for app in APPS), incomplete)


def complete_benchmark(incomplete: str) -> list[str]:
    """MLPerf Tiny's benchmarks."""
    from tesla_host.apps import BENCHMARKS

    return _matching((benchmark.name for benchmark in BENCHMARKS), incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
