"""What every verb of the command line has in common: `--json`, and examples in its help.

In: the words after a verb, and what the verb found out. Out: the words as the parser wants them,
and on stdout either tables or one JSON document. Refuses, with `ConfigError`, to write JSON over
something that is no file, or over an input.

`--json` alone prints the document, and nothing else goes to stdout; `--json FILE.json`, or
`--json=FILE` of any name, writes it there beside the tables. Only a word that ends in .json counts
as a file, so that `--json` may stand anywhere but before an input that ends so. What is printed is
what a file holds.
"""

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from typer.core import TyperCommand

from tesla_embed.atomic import check_writable, write_text

_OPTION = "--json"
_PRINTED = Path("-")
_EXAMPLE = "Example: "
_TOO_MANY = "Got unexpected extra argument"
"""How the parser's message about words that it has no use for begins."""

JsonOption = Annotated[
    Path | None,
    typer.Option(
        _OPTION,
        metavar="[FILE.json]",
        help="print one JSON document and nothing else; with a FILE, write it there as well",
    ),
]


class Verb(TyperCommand):
    """A command whose `--json` may go without a value, and whose examples keep their lines."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.help, self.examples = split_examples(self.help or "")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a `--json` without a file its value, where it takes one."""
        flags = {text for one in self.params if getattr(one, "is_flag", False) for text in one.opts}
        if _OPTION not in flags:
            return self._with_files(ctx, args)
        for word, following in itertools.pairwise(args):
            if word == _OPTION and _is_json(following):
                raise typer.BadParameter(
                    f"{_OPTION} prints lines here and takes no file; redirect them: > {following}",
                    ctx,
                )
        return super().parse_args(ctx, args)

    def _with_files(self, ctx: Any, args: list[str]) -> list[str]:
        """As the parser does; says what `--json` has to do with a missing argument, or one too
        many."""
        behind = [following for word, following in itertools.pairwise(args) if word == _OPTION]
        taken = [word for word in behind if _is_json(word)]
        left = [word for word in behind if not _is_json(word) and not word.startswith("-")]
        try:
            return super().parse_args(ctx, with_values(args))
        except typer.BadParameter as error:
            if taken and getattr(error.param, "param_type_name", "") == "argument":
                error.message = (
                    f"{_OPTION} {taken[0]} names the file to write; if {taken[0]} is what to read, "
                    f"put it first: {taken[0]} {_OPTION}"
                )
            raise
        except Exception as error:  # of usage; its class has no public name
            if left and str(getattr(error, "message", "")).startswith(_TOO_MANY):
                raise typer.BadParameter(
                    f"{_OPTION} takes only a file whose name ends in .json, and {left[0]} is not "
                    f"one; use {_OPTION} {left[0]}.json, or {_OPTION}={left[0]} for that very name",
                    ctx,
                ) from error
            raise

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, each in a line of its own, so that it can be copied."""
        formatter.write_paragraph()
        formatter.write("Examples:\n")
        for example in self.examples:
            formatter.write(f"  {example}\n")


def with_values(words: Sequence[str]) -> list[str]:
    """The words, with "-" behind each `--json` that no file follows."""
    spelled: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return [*spelled, *words[index:]]
        spelled.append(word)
        following = words[index + 1] if index + 1 < len(words) else ""
        if word == _OPTION and following != str(_PRINTED) and not _is_json(following):
            spelled.append(str(_PRINTED))
    return spelled


def split_examples(text: str) -> tuple[str, list[str]]:
    """A docstring's description, and its examples: each of them one command, in one line."""
    described, *examples = text.split(_EXAMPLE)
    return described.rstrip(), [" ".join(example.split()) for example in examples]


def check_json(wanted: Path | None, *inputs: Path | None) -> None:
    """Before long work: raise `ConfigError` if the file of `--json` cannot be written."""
    file = json_file(wanted)
    if file is not None:
        check_writable(file, *inputs)


def json_file(wanted: Path | None) -> Path | None:
    """The file that `--json` names; `None` where it names none."""
    return None if wanted == _PRINTED else wanted


def present(wanted: Path | None, document: object, show: Callable[[], None]) -> None:
    """The end of every verb: print `document` as JSON, or call `show`, which prints tables.

    `wanted` is the value of `--json`; with a file, the document is written and `show` called.
    """
    if wanted == _PRINTED:
        sys.stdout.write(as_text(document))
        return
    if wanted is not None:
        write_text(wanted, as_text(document))
    show()


def as_text(document: object) -> str:
    """A document of structs, dataclasses, mappings, sequences and paths as indented JSON."""
    encoded = msgspec.json.encode(document, enc_hook=_plain)
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    plain: Callable[[], object] | None = getattr(value, "tolist", None)
    if plain is None:
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return plain()  # NumPy's and PyTorch's numbers and arrays


def _is_json(word: str) -> bool:
    return not word.startswith("-") and word.lower().endswith(".json")
