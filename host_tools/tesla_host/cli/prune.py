"""The verbs `sort` and `prune`: which channels of a trained network lead, and which stay.

PyTorch is imported when a verb runs, never before.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tesla_embed import atomic
from tesla_host.cli.terminal import console, need_torch, progress
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_embed.train.prune import Pruned, Sorted

_Checkpoint = Annotated[Path, typer.Argument(help="model.safetensors that train wrote")]
_Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="checkpoint to write")]
_By = Annotated[str, typer.Option("--by", help="measure of importance: operation-aware or l1")]
_Data = Annotated[
    str | None,
    typer.Option("--data", metavar="SPEC", help="measure batch norm again: digits, idx:DIR, ..."),
]
SORT_SCHEMA = "tesla-embed/sort/1"
PRUNE_SCHEMA = "tesla-embed/prune/1"
_SHARES = (10, 25, 50, 75)
_UNCALIBRATED = "batch norm knows 100 % DP only; give --data to measure the other percentages"


def sort(
    checkpoint: _Checkpoint,
    out: _Out,
    by: _By = "operation-aware",
    data: _Data = None,
    json_: JsonOption = None,
) -> None:
    """Let the most important channels lead, so that lower DP percentages lose less.

    For networks that were not trained to scale; at 100 % DP the answers stay the same.

    Example: tesla-embed sort runs/m/model.safetensors --data digits --out sorted.safetensors
    """
    atomic.check_writable(out, checkpoint)
    check_json(json_, checkpoint)
    need_torch()
    from tesla_embed.data import load_data
    from tesla_embed.train.checkpoint import load_checkpoint, save_checkpoint
    from tesla_embed.train.prune import sort_checkpoint

    loaded, dataset = load_checkpoint(checkpoint), load_data(data) if data else None
    with progress("sorting"):
        result = sort_checkpoint(loaded, by, dataset)
        save_checkpoint(out, result.checkpoint.network, result.checkpoint.info)

    def show() -> None:
        _print_sorted(result)
        print(f"{out}: {len(result.importance)} groups of channels sorted, {by}")
        if not result.calibrated:
            print(_UNCALIBRATED)

    document = {"out": out, "by": by, "calibrated": result.calibrated}
    importance = {name: values.tolist() for name, values in result.importance.items()}
    present(json_, {"schema": SORT_SCHEMA, **document, "importance": importance}, show)


def prune(
    checkpoint: _Checkpoint,
    out: _Out,
    by: _By = "operation-aware",
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="remove channels more likely dead than this; else 0.99"),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", metavar="PERCENT", help="keep the most important of each group"),
    ] = None,
    data: _Data = None,
    json_: JsonOption = None,
) -> None:
    """Remove channels that are dead, or all but the most important, and sort the others.

    The result is a narrower network of the same recipe; train --init goes on from it.

    Example: tesla-embed prune runs/m/model.safetensors --keep 60 --out pruned.safetensors
    """
    atomic.check_writable(out, checkpoint)
    check_json(json_, checkpoint)
    need_torch()
    from tesla_embed.data import load_data
    from tesla_embed.train.checkpoint import load_checkpoint, save_checkpoint
    from tesla_embed.train.prune import prune_checkpoint

    loaded, dataset = load_checkpoint(checkpoint), load_data(data) if data else None
    with progress("pruning"):
        result = prune_checkpoint(loaded, by, threshold=threshold, keep=keep, data=dataset)
        save_checkpoint(out, result.checkpoint.network, result.checkpoint.info)

    def show() -> None:
        _print_pruned(result)
        print(out)
        if not result.calibrated:
            print(_UNCALIBRATED)

    document = {"out": out, "by": by, "calibrated": result.calibrated}
    costs = {"before": result.before, "after": result.after}
    present(json_, {"schema": PRUNE_SCHEMA, **document, **costs}, show)


def _print_sorted(result: "Sorted") -> None:
    table = Table(caption="importance of the leading channels")
    for heading in ("group", "channels", *(f"{share} %" for share in _SHARES)):
        table.add_column(heading, justify="left" if heading == "group" else "right")
    for name, values in result.importance.items():
        total = float(values.sum()) or 1.0
        leading = (float(values[: -(-len(values) * share // 100)].sum()) for share in _SHARES)
        table.add_row(name, str(len(values)), *(f"{part / total:.1%}" for part in leading))
    console().print(table)


def _print_pruned(result: "Pruned") -> None:
    before, after = result.before, result.after
    table = Table()
    for heading in ("", "before", "after", "left"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, channels in before.widths.items():
        table.add_row(f"channels of {name}", *_change(channels, after.widths[name]))
    for name in ("channels", "parameters", "macs"):
        title = {"channels": "channels of all groups", "macs": "MACs"}.get(name, name)
        table.add_row(title, *_change(getattr(before, name), getattr(after, name)))
    console().print(table)


def _change(before: int, after: int) -> tuple[str, str, str]:
    return f"{before:,}", f"{after:,}", f"{after / before:.1%}"
