"""What the templates print: every value final, named and formatted; no template computes.

In: a profile. Out: frozen views, one per section of the page.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tesla_host.report.choice import Pick, Point, Unit, uncertainty
from tesla_host.report.numbers import (
    NBSP,
    UNKNOWN,
    grouped,
    in_bytes,
    percent,
    ratio,
    short,
)
from tesla_host.results import Profile, RegionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and its value; `note` says more, and may be empty."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`rows` hold one cell per column; a row's first cell is its heading; `marked` rows stand out.

    The first `words` columns hold text, the others numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: tuple[bool, ...] = ()
    words: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """The verdict on exactness: `kind` is `good`, `bad` or `none`."""

    kind: str
    word: str
    text: str


def badge(regions: Sequence[RegionResult]) -> Badge:
    """Whether the device computed what the interpreter computes, and on how much that rests."""
    compared = sum(region.device_samples for region in regions)
    wrong = [f"{region.dp}{NBSP}%" for region in regions if not region.bit_exact]
    over = f"{grouped(compared)} outputs compared over {len(regions)} " + (
        "region" if len(regions) == 1 else "regions"
    )
    if wrong:
        worst = percent(min(region.agreement for region in regions), 3)
        at = f"differs at DP {', '.join(wrong)}; lowest agreement {worst}"
        return Badge(kind="bad", word="not bit-exact", text=f"{at}; {over}")
    if not compared:
        return Badge(kind="none", word="not compared", text="no output of the device was compared")
    return Badge(kind="good", word="bit-exact", text=over)


def headline(points: Sequence[Point], unit: Unit) -> tuple[Fact, ...]:
    """The cheapest and the costliest region; one entry where there is only one."""
    ends = points[:1] if len(points) == 1 else (points[0], points[-1])
    return tuple(
        Fact(
            name=f"DP {point.dp}{NBSP}%",
            value=percent(point.accuracy, 1),
            note=f"at {short(point.cost)} {unit}",
        )
        for point in ends
    )


def pick_table(picks: Sequence[Pick], points: Sequence[Point], unit: Unit) -> Table:
    """Which region to take, by the accuracy that may be given up."""
    full = points[-1].cost
    rows = []
    for pick in picks:
        saved = ratio(full - pick.point.cost, full)
        rows.append(
            (
                _points(pick.loss),
                f"{pick.point.dp}{NBSP}%",
                percent(pick.point.accuracy),
                percent(saved, 1),
                grouped(pick.point.cost),
            )
        )
    return Table(
        caption="The cheapest region for what you may lose",
        columns=("you may lose", "take DP", "accuracy", "saved", unit),
        rows=tuple(rows),
    )


def region_table(regions: Sequence[RegionResult], points: Sequence[Point]) -> Table:
    """What each region gives and costs."""
    dominated = {point.dp for point in points if point.dominated}
    columns = (
        "DP", "true MACs", "of full", "accuracy, float", "accuracy, device", "instructions, median",
        "cycles, estimate", "µs at the clock", "instructions to switch", "bit-exact",
    )  # fmt: skip
    rows = tuple(
        (
            f"{r.dp}{NBSP}%" + ("\xa0✕" if r.dp in dominated else ""),
            grouped(r.macs),
            percent(r.macs_fraction, 1),
            percent(r.accuracy_float),
            percent(r.accuracy),
            grouped(r.instructions.median if r.instructions else None),
            grouped(r.cycles_estimate),
            grouped(r.latency_us, 1),
            grouped(r.switch_instructions),
            _exact(r),
        )
        for r in regions
    )
    marked = tuple(not region.bit_exact for region in regions)
    return Table(caption="What it gives and costs", columns=columns, rows=rows, marked=marked)


def evidence_table(regions: Sequence[RegionResult]) -> Table:
    """On how much each region's numbers rest."""
    columns = (
        "DP", "samples", "on the device", "identical output", "float samples",
        "fewest instructions", "most instructions",
    )  # fmt: skip
    rows = tuple(
        (
            f"{r.dp}{NBSP}%",
            grouped(r.samples),
            grouped(r.device_samples),
            percent(r.agreement if r.device_samples else None, 3),
            grouped(r.accuracy_float_samples),
            grouped(r.instructions.min if r.instructions else None),
            grouped(r.instructions.max if r.instructions else None),
        )
        for r in regions
    )
    marked = tuple(not region.bit_exact for region in regions)
    return Table(caption="What it rests on", columns=columns, rows=rows, marked=marked)


def accuracy_note(regions: Sequence[RegionResult]) -> str:
    """How far a measured accuracy may lie from the true one."""
    half = uncertainty(regions)
    if not half:
        return ""
    return (
        f"With this many samples an accuracy is known to about ±{100 * half:.2f} points "
        "(95 %, at the region where it is widest)."
    )


def made(profile: Profile) -> tuple[Fact, ...]:
    """How model and measurement came about."""
    model, tool, target = profile.model, profile.tool, profile.target
    shapes = [f"[{', '.join(map(str, s))}]" for s in (model.input_shape, model.output_shape)]
    return (
        Fact(name="recipe", value=model.recipe),
        Fact(name="algorithm", value=model.algorithm),
        Fact(name="profile of coefficients", value=model.profile),
        Fact(name="seed", value=UNKNOWN if model.seed is None else str(model.seed)),
        Fact(name="trained on", value=model.data),
        Fact(name="measured on", value=profile.data),
        Fact(name="shapes", value=f"{shapes[0]} → {shapes[1]}"),
        Fact(name="weights", value=in_bytes(model.weights_bytes)),
        Fact(name="model digest", value=model.digest),
        Fact(name="target", value=f"{target.name}: {target.cpu}, {target.status}"),
        Fact(name="clock", value=f"{grouped(target.clock_hz)}{NBSP}Hz"),
        Fact(name="tesla-embed", value=tool.version),
        Fact(name="compiler", value=tool.compiler),
        Fact(name="host compiler", value=tool.host_compiler),
        Fact(name="schema", value=profile.schema),
    )


def commands(profile: Profile) -> tuple[str, ...]:
    """What to type to measure again and to draw this page again."""
    name, regions = shlex.quote(profile.model.name), profile.regions
    measure = [
        f"tesla-embed profile {name}.safetensors --target {shlex.quote(profile.target.name)}",
        f"--data {shlex.quote(profile.data)} --regions {_dp_list([r.dp for r in regions])}",
        f"--samples {regions[0].samples}",
        *(f"--device-samples {n}" for r in regions[:1] if (n := r.device_samples)),
        f"--json {name}.json",
    ]
    return " ".join(measure), f"tesla-embed report {name}.json --out {name}.html"


def _dp_list(dps: Sequence[int]) -> str:
    """Percentages as the command line reads them, a range where the steps are equal."""
    steps = {later - earlier for earlier, later in pairwise(dps)}
    if len(dps) > 2 and len(steps) == 1:
        return f"{dps[0]}-{dps[-1]}/{steps.pop()}"
    return ",".join(map(str, dps))


def _points(loss: float) -> str:
    if loss == 0:
        return "nothing"
    return "1 point" if loss == 0.01 else f"{100 * loss:g} points"


def _exact(region: RegionResult) -> str:
    if not region.bit_exact:
        return "NO"
    return "yes" if region.device_samples else UNKNOWN
