"""Options that several verbs share, turned from text into values.

In: what the user typed. Out: checked values. Refuses, with `ConfigError`, what cannot be meant.
"""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tesla_codegen.kernels.variant import Optimize
from tesla_embed.errors import ConfigError
from tesla_host.cli.completion import complete_app, complete_benchmark

DataOption = Annotated[
    str, typer.Option("--data", metavar="SPEC", help="data set: digits, idx:DIR or npz:DIR")
]
ToolchainOption = Annotated[
    str | None,
    typer.Option(
        "--toolchain", metavar="NAME", help="zig, gcc or clang; default: the target's first"
    ),
]
ToolchainsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--toolchain",
        metavar="NAME",
        help="zig, gcc or clang; repeatable; default: the target's first",
    ),
]
ModelArgument = Annotated[Path, typer.Argument(help="integer model that quantize or import wrote")]
OptimizeOption = Annotated[Optimize, typer.Option(help="spend flash on speed, save it, or neither")]
AppOption = Annotated[
    str,
    typer.Option(help="what the firmware speaks: link or mlperf-tiny", autocompletion=complete_app),
]
BenchmarkOption = Annotated[
    str | None,
    typer.Option(
        help="of --app mlperf-tiny: kws01, ic01, vww01 or ad01; default: by the model's inputs",
        autocompletion=complete_benchmark,
    ),
]
ALL_REGIONS = "10,20,...,100"

_DP_FORMS = "write 10,25,100 or 10,20,...,100 or 10-100/10"


def parse_dp_list(text: str) -> tuple[int, ...]:
    """DP percentages from a comma-separated list, ascending and without repetitions.

    An item is a percentage, a range `first-last/step` (step 1 if left out), or an ellipsis `...`
    or `…`, which continues the step of the two percentages before it up to the one after it.
    Raises `ConfigError` for anything else and for percentages outside 1 to 100.
    """
    items = [item.strip() for item in text.replace("…", "...").split(",")]
    chosen: list[int] = []
    for index, item in enumerate(items):
        if item == "...":
            chosen += _ellipsis(text, items, index)
            continue
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3})(?:/(\d{1,3}))?)?", item, re.ASCII)
        if match is None:
            raise ConfigError(f"{item!r} in DP list {text!r} is no percentage; {_DP_FORMS}")
        first, last, step = match.groups()
        chosen += _steps(text, int(first), int(last or first), int(step or 1))
    for dp in chosen:
        if not 1 <= dp <= 100:
            raise ConfigError(f"{dp} in DP list {text!r} is out of range; use 1 to 100")
    return tuple(sorted(set(chosen)))


def _ellipsis(text: str, items: list[str], index: int) -> range:
    """Percentages from the one before an ellipsis to the one after it."""
    around = (*items[max(index - 2, 0) : index], *items[index + 1 : index + 2])
    if len(around) != 3 or not all(re.fullmatch(r"\d{1,3}", item, re.ASCII) for item in around):
        raise ConfigError(
            f"the ellipsis in DP list {text!r} needs two percentages before and one after it; "
            f"{_DP_FORMS}"
        )
    earlier, first, last = map(int, around)
    return _steps(text, first, last, first - earlier)


def _steps(text: str, first: int, last: int, step: int) -> range:
    if step < 1 or last < first or (last - first) % step:
        raise ConfigError(
            f"steps of {step} do not lead from {first} to {last} in DP list {text!r}; {_DP_FORMS}"
        )
    return range(first, last + 1, step)


@contextlib.contextmanager
def build_folder(chosen: Path | None) -> Iterator[Path]:
    """The folder asked for, or a temporary one."""
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="tesla-embed-") as name:
        yield Path(name)
