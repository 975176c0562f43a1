"""From a trace and a profile to the energy of an inference in every region.

In: a `Trace` whose marker was high while the firmware inferred, and the `Profile` of that run. Out:
an `EnergyResult`. Refuses, with `ConfigError`, a trace whose pulses are not those of the profile:
too few, too many at no telling place, or of another length than the device's clock measured.

The energy of a run is the sum of power times time over its samples: a sample stands for the time
until the next. What the board takes anyway is the median power while the marker is low, between
the first and the last run of the region; `net` is without it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec
import numpy as np

from tesla_embed.errors import ConfigError
from tesla_host.energy.trace import Trace
from tesla_host.jobs import count_marked, marked_runs
from tesla_host.results import Profile, RegionResult, p95

ENERGY_SCHEMA = "tesla-embed/energy/1"
_TOLERANCE = 0.2
"""Share by which a pulse may differ from what the device's clock said of its region."""
_EDGE_SAMPLES = 2
_MOST_EXTRA = 1000
"""Pulses before the profile's first: beyond that it is not looked for."""


class Quantiles(msgspec.Struct, kw_only=True, frozen=True):
    """Smallest, middle and largest of several runs; `p95`: 95 % of them were no larger."""

    min: float
    median: float
    p95: float
    max: float


class RegionEnergy(msgspec.Struct, kw_only=True, frozen=True):
    """Energy of one inference in a region, over `runs` of them.

    `net_energy_uj` is what is left when `idle_power_mw` goes off; `duration_us` is the marker's.
    """

    dp: int
    runs: int
    energy_uj: Quantiles
    net_energy_uj: Quantiles
    power_mw: float
    idle_power_mw: float
    duration_us: Quantiles


class EnergyResult(msgspec.Struct, kw_only=True, frozen=True):
    """What `tesla-embed energy` finds; `first_pulse` of the `pulses` came before the profile's."""

    schema: str = ENERGY_SCHEMA
    model: str
    digest: str
    target: str
    samples: int
    period_us: float
    pulses: int
    first_pulse: int
    regions: list[RegionEnergy]


@dataclass(frozen=True, slots=True)
class Pulse:
    """Samples `start` to `stop` (exclusive) while the marker was high, and what they took."""

    start: int
    stop: int
    seconds: float
    joules: float


def energy_of(trace: Trace, profile: Profile) -> EnergyResult:
    """Align `trace` with `profile` and sum up each region. Raises `ConfigError`."""
    pulses = list(find_pulses(trace))
    _check_count(len(pulses), profile)
    runs = marked_runs(
        [(region.dp, region.device_samples) for region in profile.regions], profile.runs
    )
    first = _place(pulses, [dp for dp, _ in runs], profile, trace.period_s)
    placed = list(zip(runs, pulses[first:], strict=False))
    regions = [
        _region(trace, dp, [(pulse, counts) for (_, counts), pulse in group])
        for dp, group in groupby(placed, key=lambda entry: entry[0][0])
    ]
    return EnergyResult(
        model=profile.model.name,
        digest=profile.model.digest,
        target=profile.target.name,
        samples=len(trace.time_s),
        period_us=1e6 * trace.period_s,
        pulses=len(pulses),
        first_pulse=first,
        regions=regions,
    )


def find_pulses(trace: Trace) -> Iterator[Pulse]:
    """Every time that the marker was high, from edge to edge; cut ones at either end are none."""
    change = np.flatnonzero(np.diff(trace.marker.astype(np.int8))) + 1
    edges = change[1:] if trace.marker[0] else change
    seconds = np.diff(trace.time_s)
    energy = np.concatenate(([0.0], np.cumsum(trace.power_w[:-1] * seconds)))
    for start, stop in zip(edges[::2], edges[1::2], strict=False):
        yield Pulse(
            int(start),
            int(stop),
            float(trace.time_s[stop] - trace.time_s[start]),
            float(energy[stop] - energy[start]),
        )


def _check_count(pulses: int, profile: Profile) -> None:
    """Refuse a profile without inferences, or with more of them than the trace has pulses.

    What a file claims is only added up here: a list that long may not fit in memory.
    """
    samples = [region.device_samples for region in profile.regions]
    if not samples or min(samples) < 1 or profile.runs < 1:
        raise ConfigError(
            f"the profile has {profile.runs} runs of {min(samples, default=0)} samples in one of "
            "its regions, so that no energy can be told; measure at least one sample in each"
        )
    count = count_marked(samples, profile.runs)
    if pulses < count:
        raise ConfigError(
            f"the marker rises {pulses:,} times, the profile has {count:,} inferences; "
            "record all of it, with samples that are closer than an inference is long"
        )


def _place(pulses: Sequence[Pulse], dps: Sequence[int], profile: Profile, period_s: float) -> int:
    """How many of the pulses, at least as many as `dps`, come before the profile's first."""
    bounds = {r.dp: _bounds(r, period_s) for r in profile.regions}
    low, high = (np.array([bounds[dp][side] for dp in dps]) for side in (0, 1))
    extra = len(pulses) - len(dps)
    seconds = np.array([pulse.seconds for pulse in pulses])
    parts = ((at, seconds[at : at + len(dps)]) for at in range(min(extra, _MOST_EXTRA) + 1))
    fitting = [at for at, part in parts if ((low <= part) & (part <= high)).all()]
    clock = any(math.isfinite(value) for value in high)
    if len(fitting) == 1 and (clock or not extra):
        return fitting[0]
    if fitting:
        raise ConfigError(
            f"the marker rises {extra:,} times more than the profile has inferences, and which are "
            "its own is not certain; export that part of the trace alone"
        )
    raise ConfigError(
        f"the marker's {len(pulses):,} pulses are not those of the profile's {len(dps):,} "
        "inferences: their lengths are not what the device's clock measured; give the profile of "
        "this very run, made with one board and without interruption"
    )


def _bounds(region: RegionResult, period_s: float) -> tuple[float, float]:
    """Seconds that a pulse of this region lasts at least and at most; any where no clock counts."""
    if region.latency is None:
        return 0.0, math.inf
    longest = max(region.latency.max, region.first_us or 0.0)
    edges_s = _EDGE_SAMPLES * period_s
    return (
        (1 - _TOLERANCE) * region.latency.min / 1e6 - edges_s,
        (1 + _TOLERANCE) * longest / 1e6 + edges_s,
    )


def _region(trace: Trace, dp: int, placed: Sequence[tuple[Pulse, bool]]) -> RegionEnergy:
    counted = [pulse for pulse, counts in placed if counts]
    between = slice(placed[0][0].start, placed[-1][0].stop)
    low = trace.power_w[between][~trace.marker[between]]
    idle = float(np.median(low)) if len(low) else 0.0
    seconds = [pulse.seconds for pulse in counted]
    joules = [pulse.joules for pulse in counted]
    net = [pulse.joules - idle * pulse.seconds for pulse in counted]
    return RegionEnergy(
        dp=dp,
        runs=len(counted),
        energy_uj=_quantiles(joules),
        net_energy_uj=_quantiles(net),
        power_mw=1e3 * math.fsum(joules) / math.fsum(seconds),
        idle_power_mw=1e3 * idle,
        duration_us=_quantiles(seconds),
    )


def _quantiles(values: Sequence[float]) -> Quantiles:
    """In millionths of the unit of `values`."""
    ordered = sorted(1e6 * value for value in values)
    return Quantiles(
        min=ordered[0],
        median=float(np.median(ordered)),
        p95=p95(ordered),
        max=ordered[-1],
    )
