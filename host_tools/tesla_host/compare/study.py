"""A whole comparison in one call: run everything, sum it up, write three kinds of file."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tesla_embed import __version__, atomic
from tesla_embed.data import load_data
from tesla_embed.errors import ConfigError, ToolchainError
from tesla_host.compare.plan import Row, Run, plan
from tesla_host.compare.results import (
    Comparison,
    RowResult,
    RunResult,
    read_reference,
    summarize,
    write_json,
)
from tesla_host.compare.runs import Observer, carry_out
from tesla_host.compare.table import markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is compared: recipes by name or path, `rows`, `seeds`, `dps` (percent, ascending).

    `data` is a data set's specification, `overrides` change every recipe, `references` name
    published figures to put beside the measured ones.
    """

    recipes: Sequence[str]
    rows: Sequence[Row]
    seeds: Sequence[int]
    dps: Sequence[int]
    data: str
    overrides: Sequence[str] = ()
    references: Sequence[str] = ()

    def command(self) -> str:
        """The command that repeats this study, without the names of local folders."""
        parts = ["tesla-embed", "compare", *map(_shown, self.recipes)]
        parts += ["--data", self.data.partition(":")[0] + (":DIR" if ":" in self.data else "")]
        for row in self.rows:
            parts += ["--row", row.text]
        parts += ["--seeds", ",".join(map(str, self.seeds))]
        parts += ["--dp", _grid(self.dps)]
        for flag, values in (("--set", self.overrides), ("--reference", self.references)):
            for value in values:
                parts += [flag, _shown(value)]
        return shlex.join([*parts, "--out", "DIR"])


def _shown(value: str) -> str:
    """An argument without the folder of a file it names."""
    key, equals, text = value.rpartition("=")
    return f"{key}{equals}{Path(text).name}" if "/" in text or "\\" in text else value


def compare(study: Study, out: Path, jobs: int, observer: Observer) -> Comparison:
    """Carry out a study in the folder `out`, at most `jobs` runs at once, or continue it there.

    Leaves `compare.json`, `compare.md`, one RECIPE.svg for each recipe, and a sub-folder per run.
    Where some runs fail, the others are summed up all the same, and `failed` tells of them; where
    all do, the first error is raised.
    Raises `ConfigError` for anything wrong with the study, before training, and `ToolchainError`
    where matplotlib is missing.
    """
    _need_matplotlib()
    atomic.check_writable(out / "compare.json")
    from tesla_host.compare.figure import draw

    runs = plan(study.recipes, study.rows, study.seeds, study.overrides)
    references = [row for name in study.references for row in read_reference(name)]
    known = {run.recipe.name for run in runs}
    for row in references:
        if row.recipe not in known:
            raise ConfigError(f"the reference is for recipe {row.recipe}, which is not compared")
    results, failed = carry_out(runs, study.data, out, study.dps, jobs, observer)
    if failed and not results:
        raise next(iter(failed.values()))
    comparison = Comparison(
        tool_version=__version__,
        command=study.command(),
        data=load_data(study.data).name,
        dps=list(study.dps),
        rows=[*_rows(results), *references],
        failed=[str(error) for error in failed.values()],
    )
    for recipe in sorted(known):
        rows = [row for row in comparison.rows if row.recipe == recipe and row.mean]
        atomic.write_text(out / f"{recipe}.svg", draw(rows, recipe))
    atomic.write_text(out / "compare.md", markdown(comparison))
    write_json(out / "compare.json", comparison)
    return comparison


def _rows(results: dict[Run, RunResult]) -> list[RowResult]:
    """One row per recipe, algorithm and profile, recipe by recipe."""
    groups: dict[tuple[str, Row], list[tuple[int, RunResult]]] = {}
    for run, result in results.items():
        groups.setdefault((run.recipe.name, run.row), []).append((run.recipe.seed, result))
    return [summarize(recipe, row, found) for (recipe, row), found in groups.items()]


def _grid(dps: Sequence[int]) -> str:
    """A list of DP percentages as the command line takes it, evenly spaced ones as a range."""
    steps = {later - earlier for earlier, later in pairwise(dps)}
    if len(dps) > 2 and len(steps) == 1:
        return f"{dps[0]}-{dps[-1]}/{steps.pop()}"
    return ",".join(map(str, dps))


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401 — optional, and slow to load
    except ImportError as error:
        raise ToolchainError(
            "a comparison needs matplotlib; install it with: pip install 'tesla-embed[report]'"
        ) from error
