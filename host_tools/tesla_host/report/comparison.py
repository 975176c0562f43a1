"""Several profiles side by side: what tells them apart, and a table by DP percentage."""

from collections.abc import Sequence

from tesla_host.report.choice import Unit, cost
from tesla_host.report.numbers import NBSP, UNKNOWN, grouped, percent
from tesla_host.report.views import Table
from tesla_host.results import Profile


def labels(profiles: Sequence[Profile]) -> tuple[str, ...]:
    """A short name for each: the properties that differ, numbered where that leaves twins."""
    kinds = [
        [p.model.algorithm for p in profiles],
        [p.model.name for p in profiles],
        [p.target.name for p in profiles],
        [p.model.profile for p in profiles],
        [p.model.recipe for p in profiles],
        ["seed –" if p.model.seed is None else f"seed {p.model.seed}" for p in profiles],
    ]
    telling = [kind for kind in kinds if len(set(kind)) > 1] or kinds[:1]
    named = [", ".join(parts) for parts in zip(*telling, strict=True)]
    if len(set(named)) == len(named):
        return tuple(named)
    return tuple(f"{name} ({place})" for place, name in enumerate(named, start=1))


def comparison_table(profiles: Sequence[Profile], names: Sequence[str], unit: Unit) -> Table:
    """Accuracy and cost of every profile at every DP percentage that any of them has."""
    by_dp = [{region.dp: region for region in profile.regions} for profile in profiles]
    columns = ["DP"]
    for name in names:
        columns += [f"{name}: accuracy", f"{name}: {unit}"]
    rows = []
    for dp in sorted({dp for found in by_dp for dp in found}):
        row = [f"{dp}{NBSP}%"]
        for found in by_dp:
            region = found.get(dp)
            row += (
                [UNKNOWN, UNKNOWN]
                if region is None
                else [percent(region.accuracy), grouped(cost(region, unit))]
            )
        rows.append(tuple(row))
    return Table(caption="Side by side", columns=tuple(columns), rows=tuple(rows))


def origin_table(profiles: Sequence[Profile], names: Sequence[str]) -> Table:
    """Where each profile comes from."""
    columns = (
        "profile", "model", "algorithm", "coefficients", "recipe", "target", "digest",
        "flash, bytes", "region tables, bytes",
    )  # fmt: skip
    rows = tuple(
        (
            name,
            p.model.name,
            p.model.algorithm,
            p.model.profile,
            p.model.recipe,
            p.target.name,
            p.model.digest[:16],
            grouped(p.memory.flash_bytes),
            grouped(p.memory.region_table_bytes),
        )
        for name, p in zip(names, profiles, strict=True)
    )
    return Table(caption="The profiles compared", columns=columns, rows=rows, words=7)
