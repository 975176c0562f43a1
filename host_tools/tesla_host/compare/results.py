"""The JSON of a comparison, and how rows are summed up over seeds.

Accuracies are fractions 0 to 1. Field names are a promise to users' scripts: add, never rename.
`RunResult` is what one run leaves in its folder; `Comparison` is what all of them give.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tesla_embed.atomic import write_bytes
from tesla_embed.errors import ConfigError

if TYPE_CHECKING:
    from tesla_host.compare.plan import Row

SCHEMA = "tesla-embed/compare/1"
RUN_SCHEMA = "tesla-embed/compare-run/1"
MEASURED = "measured"


class RunResult(msgspec.Struct, kw_only=True, frozen=True):
    """What one training reached, by DP percentage.

    `recipe` (as JSON) and `data` (a fingerprint) say whether it is still the run that is asked for.
    """

    recipe: str
    data: str
    epochs: int
    accuracy: dict[int, float]
    macs: dict[int, int]
    full_macs: int
    schema: str = RUN_SCHEMA


class SeedResult(msgspec.Struct, kw_only=True, frozen=True):
    """One run of a row."""

    seed: int
    epochs: int
    accuracy: dict[int, float]


class RowResult(msgspec.Struct, kw_only=True, frozen=True):
    """A row: means over its runs, and standard deviations where there are at least two.

    `source` is `measured`, or says where a reference row comes from; that may lack percentages.
    `changes` are the row's overrides of the recipe.
    `mean_accuracy` is the mean over the grid, its deviation that of the runs' means.
    """

    recipe: str
    label: str
    source: str
    algorithm: str
    profile: str
    changes: list[str]
    mean: dict[int, float]
    sd: dict[int, float]
    mean_accuracy: float | None
    mean_accuracy_sd: float | None
    macs: dict[int, int]
    full_macs: int
    runs: list[SeedResult]


class Comparison(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that was compared; `dps` is the grid, `command` repeats it elsewhere.

    `failed` says which runs are missing, and why.
    """

    tool_version: str
    command: str
    data: str
    dps: list[int]
    rows: list[RowResult]
    failed: list[str] = []
    schema: str = SCHEMA


class _ReferenceRow(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    label: str
    mean: float | None = None
    accuracy: dict[str, float] = {}


class _Reference(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    recipe: str
    source: str
    row: list[_ReferenceRow]


def summarize(recipe: str, row: "Row", runs: Sequence[tuple[int, RunResult]]) -> RowResult:
    """Sum up `(seed, result)` pairs of one row, all measured on the same grid."""
    seeds = [SeedResult(seed=seed, epochs=run.epochs, accuracy=run.accuracy) for seed, run in runs]
    first = runs[0][1]
    means = [statistics.fmean(run.accuracy.values()) for _, run in runs]
    columns = {dp: [run.accuracy[dp] for _, run in runs] for dp in first.accuracy}
    several = len(runs) > 1
    return RowResult(
        recipe=recipe,
        label=row.label,
        source=MEASURED,
        algorithm=row.algorithm,
        profile=row.profile,
        changes=list(row.changes),
        mean={dp: statistics.fmean(values) for dp, values in columns.items()},
        sd={dp: statistics.stdev(values) for dp, values in columns.items()} if several else {},
        mean_accuracy=statistics.fmean(means),
        mean_accuracy_sd=statistics.stdev(means) if several else None,
        macs=first.macs,
        full_macs=first.full_macs,
        runs=seeds,
    )


def read_reference(name: str) -> list[RowResult]:
    """Rows of published figures: those that ship under a recipe's name, or a .toml file.

    Figures there are in percent. Raises `ConfigError`.
    """
    shipped = Path(__file__).parent / "references"
    path = Path(name) if name.endswith(".toml") else shipped / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(entry.stem for entry in shipped.glob("*.toml")))
        raise ConfigError(f"reference {name!r} is not known; use {known} or a path of a .toml file")
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=_Reference)
        return [_reference_row(found, row) for row in found.row]
    except (OSError, ValueError) as error:
        raise ConfigError(f"reference {path} cannot be used: {error}") from error


def _reference_row(reference: _Reference, row: _ReferenceRow) -> RowResult:
    mean = {int(dp): value / 100 for dp, value in row.accuracy.items()}
    if not all(1 <= dp <= 100 and 0 <= value <= 1 for dp, value in mean.items()):
        raise ValueError(f"row {row.label} has a figure that is no percentage")
    return RowResult(
        recipe=reference.recipe,
        label=row.label,
        source=reference.source,
        algorithm="",
        profile="",
        changes=[],
        mean=mean,
        sd={},
        mean_accuracy=None if row.mean is None else row.mean / 100,
        mean_accuracy_sd=None,
        macs={},
        full_macs=0,
        runs=[],
    )


def read_run(path: Path) -> RunResult | None:
    """What a run left, or `None` where it did not finish or left something else."""
    try:
        result = msgspec.json.decode(path.read_bytes(), type=RunResult)
    except (OSError, msgspec.DecodeError):
        return None
    return result if result.schema == RUN_SCHEMA else None


def write_json(path: Path, value: RunResult | Comparison) -> None:
    """Write a result in one step. Raises `ConfigError` when `path` cannot be written."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
