"""The report's four figures. In: points, layers and buffers as numbers; out: matplotlib figures.

Everything is drawn in the inks of `svg`; legends are the page's, where they can wrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from tesla_host.report.canvas import (
    FONT_PT,
    Label,
    Size,
    axes_of,
    percent_ticks,
    place,
    short_ticks,
)
from tesla_host.report.choice import Point, Unit
from tesla_host.report.memory import step
from tesla_host.report.numbers import grouped
from tesla_host.report.svg import MUTED, PAPER, SERIES, TEXT, Drawing
from tesla_host.results import ArenaBuffer, Memory

WIDE_LABELS, NARROW_LABELS = 24, 14
"""More points than this, and only every second (third, …) is named."""
MARKERS = ("o", "s", "^", "D", "v", "p", "h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The regions of one profile, by ascending cost."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What one layer (or several, taken together) costs in each region."""

    label: str
    ink: str
    costs: tuple[int, ...]


def tradeoff(series: Sequence[Series], unit: Unit, size: Size) -> Drawing:
    """Accuracy over the cost of an inference; dominated points carry a cross."""
    figure, axes = axes_of(size)
    costs = [point.cost for one in series for point in one.points]
    low, high = min(costs), max(costs)
    if low > 0 and high / low > 20:
        axes.set_xscale("log")
        axes.set_xlim(10 ** (log10(low) - 0.12), 10 ** (log10(high) + 0.16))
        subs = (1.0, 3.0) if high / low > 100 or size.narrow else (1.0, 2.0, 5.0)
        axes.xaxis.set_major_locator(LogLocator(subs=subs))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.07 * (high - low) or max(0.1 * high, 1)
        axes.set_xlim(max(low - room, 0), high + 1.3 * room)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if size.narrow else 7, min_n_ticks=2))
    short_ticks(axes, vertical=False)
    axes.set_xlabel(f"{unit} per inference")
    names = NARROW_LABELS if size.narrow else WIDE_LABELS
    tips = _draw(axes, series, [[float(p.cost) for p in one.points] for one in series], unit, names)
    return Drawing(figure=figure, tips=tips)


def by_percentage(series: Sequence[Series], unit: Unit, size: Size) -> Drawing:
    """Accuracy over the DP percentage."""
    figure, axes = axes_of(size)
    axes.set_xlim(0, 106)
    axes.set_xticks(range(0, 101, 20), [f"{dp}\xa0%" for dp in range(0, 101, 20)])
    axes.set_xlabel("dot-product percentage (DP)")
    ordered = [
        Series(label=one.label, points=tuple(sorted(one.points, key=lambda p: p.dp)))
        for one in series
    ]
    tips = _draw(axes, ordered, [[float(p.dp) for p in one.points] for one in ordered], unit, 0)
    return Drawing(figure=figure, tips=tips)


def _draw(
    axes: Axes,
    series: Sequence[Series],
    places: Sequence[Sequence[float]],
    unit: Unit,
    names: int,
) -> dict[str, list[str]]:
    """Lines, marks and at most `names` labels of all series; the tool tips of the marks."""
    every = [p for one in series for p in one.points]
    heights = [100 * p.accuracy for p in every]
    heights += [100 * p.accuracy_float for p in every if p.accuracy_float is not None]
    percent_ticks(axes, min(heights), max(heights))
    tips: dict[str, list[str]] = {}
    labels: list[Label] = []
    marks: list[tuple[float, float]] = []
    lines: list[list[tuple[float, float]]] = []
    step = -(-len(every) // max(names, 1))
    for index, (one, xs) in enumerate(zip(series, places, strict=True)):
        ys = [100 * p.accuracy for p in one.points]
        line = [i for i, p in enumerate(one.points) if not (names and p.dominated)]
        lines.append([(xs[i], ys[i]) for i in line])
        axes.plot(*zip(*lines[-1], strict=True), color=SERIES[index % 7], lw=1.2, alpha=0.55)
        tips |= _draw_marks(axes, one.points, xs, index, unit)
        marks += zip(xs, ys, strict=True)
        marks += [
            (x, 100 * p.accuracy_float)
            for x, p in zip(xs, one.points, strict=True)
            if p.accuracy_float is not None
        ]
        labels += [
            Label(
                x=xs[i],
                y=ys[i],
                text=f"{one.points[i].dp}\xa0%",
                colour=SERIES[index % 7] if len(series) > 1 else TEXT,
            )
            for i in range((len(xs) - 1) % step, len(xs), step)
        ]
    if names:
        place(axes, labels, marks, lines)
    return tips


def _draw_marks(
    axes: Axes, points: Sequence[Point], xs: Sequence[float], index: int, unit: Unit
) -> dict[str, list[str]]:
    """The marks of the series numbered `index`: outlined float, filled int8, crossed dominated."""
    ink, marker = SERIES[index % 7], MARKERS[index % len(MARKERS)]
    kinds: tuple[tuple[str, dict[str, Any], list[tuple[float, float | None, Point]]], ...] = (
        (
            "float",
            {"marker": marker, "ms": 7.5, "mfc": "none", "mec": ink, "mew": 1.1},
            [(x, p.accuracy_float, p) for x, p in zip(xs, points, strict=True)],
        ),
        (
            "int8",
            {"marker": marker, "ms": 5.5, "mfc": ink, "mec": PAPER, "mew": 0.6},
            [(x, p.accuracy, p) for x, p in zip(xs, points, strict=True)],
        ),
        (
            "dominated",
            {"marker": "x", "ms": 10, "mec": TEXT, "mew": 1.3},
            [(x, p.accuracy, p) for x, p in zip(xs, points, strict=True) if p.dominated],
        ),
    )
    tips: dict[str, list[str]] = {}
    for kind, look, found in kinds:
        known = [(x, 100 * y, p) for x, y, p in found if y is not None]
        name = f"{kind}{index}"
        axes.plot([x for x, _, _ in known], [y for _, y, _ in known], ls="", gid=name, **look)
        tips[name] = [
            f"DP {p.dp} %, {kind}: {y:.2f} %, {grouped(p.cost)} {unit}" for _, y, p in known
        ]
    return tips


def stacked(dps: Sequence[int], bands: Sequence[Band], unit: Unit, size: Size) -> Drawing:
    """One bar per region, one band per layer, the first layer at the bottom."""
    figure, axes = axes_of(size)
    base = np.zeros(len(dps))
    tips: dict[str, list[str]] = {}
    for index, band in enumerate(bands):
        top = base + np.array(band.costs)
        outline = Outline.make_compound_path(
            *(
                Outline(
                    [(i - 0.4, b), (i - 0.4, t), (i + 0.4, t), (i + 0.4, b), (0, 0)], closed=True
                )
                for i, (b, t) in enumerate(zip(base, top, strict=True))
            )
        )
        width = 0.8 if len(dps) <= 30 else 0.0
        patch = PathPatch(outline, fc=band.ink, ec=PAPER, lw=width, gid=f"band{index}")
        axes.add_patch(patch)
        tips[f"band{index}"] = [
            f"{band.label}: {grouped(min(band.costs))} to {grouped(max(band.costs))} {unit}"
        ]
        base = top
    axes.set_xlim(-0.6, len(dps) - 0.4)
    axes.set_ylim(0, 1.05 * max(float(base.max()), 1.0))
    step = -(-len(dps) // (9 if size.narrow else 20))
    shown = range((len(dps) - 1) % step, len(dps), step)
    axes.set_xticks(list(shown), [f"{dps[i]}\xa0%" for i in shown])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("dot-product percentage (DP)")
    axes.set_ylabel(unit)
    short_ticks(axes, vertical=True)
    return Drawing(figure=figure, tips=tips)


def arena(memory: Memory, size: Size) -> Drawing:
    """Each buffer as a rectangle: the steps it lives through, and the bytes it takes."""
    buffers, arena_bytes = memory.buffers, memory.arena_bytes
    figure, axes = axes_of(size)
    end = max(buffer.last for buffer in buffers) + 1
    top = max(arena_bytes, *(buffer.offset + buffer.bytes for buffer in buffers), 1)
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.04 * top)
    box = axes.get_window_extent()
    tips: dict[str, list[str]] = {}
    for index, buffer in enumerate(buffers):
        steps = buffer.last - buffer.first + 1
        axes.add_patch(
            Rectangle(
                (buffer.first, buffer.offset), steps, buffer.bytes,
                fc=SERIES[index % 7], ec=TEXT, lw=0.8, alpha=0.45, gid=f"buffer{index}",
                ls="--" if buffer.scratch else "-",
            )
        )  # fmt: skip
        tips[f"buffer{index}"] = [
            f"{buffer.name}: {grouped(buffer.bytes)} bytes at {grouped(buffer.offset)}, "
            f"steps {step(memory, buffer.first)} to {step(memory, buffer.last)}"
        ]
        left, right, share = _label_place(buffer, buffers)
        letters = int((right - left) / end * box.width / (0.62 * FONT_PT)) - 1
        name = buffer.name if len(buffer.name) <= letters else f"{buffer.name[: letters - 1]}…"
        if letters >= 3 and buffer.bytes / (1.04 * top) * box.height > FONT_PT + 2:
            middle = ((left + right) / 2, buffer.offset + share * buffer.bytes)
            axes.text(*middle, name, ha="center", va="center_baseline", clip_on=True)
    axes.axhline(arena_bytes, color=MUTED, lw=1.2, ls="--")
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6 if size.narrow else 16, integer=True))
    axes.set_xlabel("execution step")
    axes.set_ylabel("offset in bytes")
    short_ticks(axes, vertical=True)
    return Drawing(figure=figure, tips=tips)


def _label_place(buffer: ArenaBuffer, buffers: Sequence[ArenaBuffer]) -> tuple[int, int, float]:
    """The steps, first and one past the last, in which a buffer shares no bytes, and how far up its
    name goes, 0 to 1: in the middle, but low where it shares bytes all its life."""
    overwritten = any(buffer.name in other.over.split(", ") for other in buffers)
    left, right = buffer.first + bool(buffer.over), buffer.last + 1 - overwritten
    return (left, right, 0.5) if left < right else (buffer.first, buffer.last + 1, 0.2)
