"""The verb that compares ways of training, as the paper's Figures 3 and 4 do."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_host.cli.options import DataOption, parse_dp_list
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_host.compare.results import Comparison

_GRID = "10-100/5"


_Algorithms = Annotated[
    list[str] | None, typer.Option("--algorithm", help="train with it; repeatable")
]
_Profiles = Annotated[
    list[str] | None, typer.Option("--profile", help="for each --algorithm; repeatable")
]
_Rows = Annotated[
    list[str] | None,
    typer.Option(
        "--row",
        metavar="ALGORITHM:PROFILE[:KEY=VALUE]",
        help="one combination, with changes of its own; repeatable",
    ),
]
_Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change a key of every recipe; repeatable"),
]
_Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="runs at once; by default one per core")
]
_References = Annotated[
    list[str] | None,
    typer.Option("--reference", help="published figures to show: mnist-mlp or a .toml file"),
]


def compare(
    recipes: Annotated[list[str], typer.Argument(help="names of recipes, or .toml files")],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder for the results")],
    algorithm: _Algorithms = None,
    profile: _Profiles = None,
    row: _Rows = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="LIST", help="such as 0,1,2")] = "0",
    dp: Annotated[
        str, typer.Option("--dp", metavar="LIST", help="where to measure, such as 10-100/5")
    ] = _GRID,
    set_: _Changes = None,
    reference: _References = None,
    jobs: _Jobs = None,
    json_: JsonOption = None,
) -> None:
    """Train in several ways and compare accuracy at every dot-product percentage.

    Writes DIR/compare.md, compare.json and a figure. Started again, it continues where it was.
    Ends with code 1 when some of the runs failed; the others are compared.

    Example: tesla-embed compare mnist-mlp --data idx:mnist --row tesla:linear --row idp:linear
    --seeds 0,1,2 --out runs/compare
    """
    from tesla_host.cli.terminal import need_torch, progress

    dps = parse_dp_list(dp)
    check_json(json_, *map(Path, recipes))
    need_torch()
    from tesla_host.compare.plan import parse_rows, parse_seeds
    from tesla_host.compare.study import Study
    from tesla_host.compare.study import compare as run_comparison

    study = Study(
        recipes=recipes,
        rows=parse_rows(algorithm or [], profile or [], row or []),
        seeds=parse_seeds(seeds),
        dps=dps,
        data=data,
        overrides=set_ or [],
        references=reference or [],
    )
    with progress("comparing") as observer:
        comparison = run_comparison(study, out, jobs or os.cpu_count() or 1, observer)
    present(json_, comparison, lambda: _print_table(comparison, out))
    for text in comparison.failed:
        print(f"failed: {text}", file=sys.stderr)
    if comparison.failed:
        raise typer.Exit(1)


def _print_table(comparison: "Comparison", out: Path) -> None:
    from rich.table import Table

    from tesla_host.cli.terminal import console

    table = Table(caption=f"mean accuracy over {len(comparison.dps)} DP percentages")
    for heading in ("recipe", "training", "source", "seeds", "mean", "±"):
        table.add_column(heading, justify="left" if heading[0] in "rt" else "right")
    for row in comparison.rows:
        table.add_row(
            row.recipe,
            row.label,
            row.source,
            str(len(row.runs) or ""),
            "" if row.mean_accuracy is None else f"{row.mean_accuracy:.2%}",
            "" if row.mean_accuracy_sd is None else f"{row.mean_accuracy_sd:.2%}",
        )
    console().print(table)
    print(out / "compare.md")
