"""Two profiles of the same kind: what got worse.

In: an old and a new profile, and how much is allowed. Out: every figure that is worse by more.
Refuses, with `ConfigError`, profiles of different targets or without a common region.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tesla_embed.errors import ConfigError
from tesla_host.results import LayerCost, Profile, RegionResult

_POINTS = 100.0


@dataclass(frozen=True, slots=True)
class Worse:
    """One figure that got worse: `change` is a share of the old cost, or of all samples."""

    where: str
    what: str
    old: float
    new: float
    change: float


def check_comparable(old: Profile, target: str, dps: Sequence[int]) -> None:
    """Before measuring `dps` on `target`: raise `ConfigError` if `old` is of something else."""
    if old.target.name != target:
        raise ConfigError(
            f"the old profile is of target {old.target.name}, this one of {target}; "
            "compare profiles of one target"
        )
    if not {region.dp for region in old.regions} & set(dps):
        raise ConfigError("the two profiles have no region in common; measure the same ones")


def regressions(old: Profile, new: Profile, allowed: float) -> list[Worse]:
    """Costs that rose by more than the share `allowed`, and accuracies that fell by more.

    Costs are compared as shares of the old one; accuracy as a difference of shares of the samples,
    so that 0.02 allows two percentage points. What either profile does not know is left out.
    """
    check_comparable(old, new.target.name, [region.dp for region in new.regions])
    before = {region.dp: region for region in old.regions}
    common = [region for region in new.regions if region.dp in before]
    pairs = [*_memory(old, new)]
    for region in common:
        pairs += _region(before[region.dp], region)
    return [worse for worse in pairs if worse.change > allowed]


def remarks(old: Profile, new: Profile) -> list[str]:
    """What the two profiles did not measure alike, and which figures that concerns."""
    found: list[str] = []
    if old.model.digest != new.model.digest:
        found.append("the old profile is of another model")
    if old.data != new.data:
        found.append(f"the old profile is of the data {old.data}, this one of {new.data}")
    accuracy = ("samples", "accuracies are of different test samples")
    costs = ("device_samples", "costs and device accuracies are of different inputs")
    for what, meaning in (accuracy, costs):
        before, after = ({getattr(r, what) for r in one.regions} for one in (old, new))
        if before != after:
            then, now = (", ".join(f"{n:,}" for n in sorted(counts)) for counts in (before, after))
            found.append(
                f"{what.replace('_', ' ')}: {then} in the old profile, {now} now; {meaning}"
            )
    if old.runs != new.runs:
        found.append(f"runs of each: {old.runs} in the old profile, {new.runs} now")
    return found


def missing_regions(old: Profile, new: Profile) -> list[int]:
    """Regions of the old profile that the new one lacks."""
    have = {region.dp for region in new.regions}
    return [region.dp for region in old.regions if region.dp not in have]


def _memory(old: Profile, new: Profile) -> Iterator[Worse]:
    for what in ("flash_bytes", "ram_bytes", "arena_bytes", "stack_bytes"):
        yield from _cost("memory", what, getattr(old.memory, what), getattr(new.memory, what))


def _region(old: RegionResult, new: RegionResult) -> Iterator[Worse]:
    where = f"{new.dp} % DP"
    for what in ("accuracy", "device_accuracy"):
        before, after = getattr(old, what), getattr(new, what)
        if before is not None and after is not None:
            yield Worse(where, what, before, after, before - after)
    for what in ("instructions", "latency"):
        one, other = getattr(old, what), getattr(new, what)
        if one is not None and other is not None:
            for part in ("median", "p95"):  # the slowest of all runs is chance
                yield from _cost(
                    where, f"{what} ({part})", getattr(one, part), getattr(other, part)
                )
    for what in ("cycles_estimate", "switch_instructions", "first_instructions", "first_us"):
        yield from _cost(where, what, getattr(old, what), getattr(new, what))
    layers = {layer.name: layer for layer in old.layers}
    for layer in new.layers:
        if layer.name in layers:
            yield from _layer(f"{where}, {layer.name}", layers[layer.name], layer)


def _layer(where: str, old: LayerCost, new: LayerCost) -> Iterator[Worse]:
    for what in ("instructions", "cycles_estimate", "latency_us"):
        yield from _cost(where, what, getattr(old, what), getattr(new, what))


def _cost(where: str, what: str, old: float | None, new: float | None) -> Iterator[Worse]:
    if old and new is not None:
        yield Worse(where, what, old, new, new / old - 1)


def parse_share(text: str) -> float:
    """`2%` or `0.02` as a share, 0 or more. Raises `ConfigError`."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number) / (_POINTS if text.strip().endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf") or (value >= 1 and "%" not in text):
        raise ConfigError(f"--fail-above {text!r} is no share; write 2% or 0.02")
    return value
