"""Empty figures in the report's style, and labels that do not lie on each other.

Sizes are CSS pixels (96 to the inch), text is 12 of them high, so that a figure shown at its own
width has the page's text size. Nothing of a user's matplotlib configuration is used.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tesla_host.report.numbers import short
from tesla_host.report.svg import MUTED, RULE, TEXT

FONT_PT = 9.0
_LETTER_PT = 0.6 * FONT_PT
"""A generous mean width: the page's font is not known here."""

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": TEXT,
    "axes.labelpad": 6,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_PT,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "tesla-embed",
    "text.color": TEXT,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.color": MUTED,
    "ytick.labelcolor": TEXT,
    "ytick.left": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of a figure, in CSS pixels."""

    width: int
    height: int
    name: str

    @property
    def narrow(self) -> bool:
        """Whether it is the one for a phone."""
        return self.name == "narrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text for the point (x, y), in data coordinates."""

    x: float
    y: float
    text: str
    colour: str


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Matplotlib as it was delivered, in the report's style, for as long as this lasts."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def axes_of(size: Size, *, left: int = 58, bottom: int = 48) -> tuple[Figure, Axes]:
    """One diagram with room for its labels at the left and the bottom, in CSS pixels."""
    figure = Figure(figsize=(size.width / 96, size.height / 96), dpi=72)
    axes = figure.add_axes(
        (
            left / size.width,
            bottom / size.height,
            1 - (left + 14) / size.width,
            1 - (bottom + 12) / size.height,
        )
    )
    return figure, axes


def percent_ticks(axes: Axes, low: float, high: float) -> None:
    """The y axis in percent, with room around `low` and `high`."""
    room = max(0.12 * (high - low), 0.15)
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:.6g}\xa0%" if -1e-9 <= value <= 100 + 1e-9 else "")
    )


def short_ticks(axes: Axes, *, vertical: bool) -> None:
    """Ticks such as `12 k` instead of 12000."""
    axis = axes.yaxis if vertical else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def place(
    axes: Axes,
    labels: Sequence[Label],
    marks: Sequence[tuple[float, float]],
    lines: Sequence[Sequence[tuple[float, float]]],
) -> None:
    """Write each label near its point where it covers no mark, line or other label.

    The limits of `axes` must stand. Among many points, those without room stay without a label.
    """
    spots = [axes.transData.transform(mark) for mark in marks]
    taken = [_box(x, y, 7, 7) for x, y in spots]
    for line in lines:
        corners = [axes.transData.transform(corner) for corner in line]
        taken += [_box(x, y, 1, 1) for x, y in _along([(x, y) for x, y in corners])]
    room = axes.get_window_extent()
    for label in labels:
        x, y = axes.transData.transform((label.x, label.y))
        width = _LETTER_PT * len(label.text)
        best: tuple[int, float, float] | None = None
        for dx, dy in _offsets(width):
            box = _box(x + dx, y + dy, width, FONT_PT + 1)
            outside = box[0] < room.x0 or box[2] > room.x1 + 8
            outside |= box[1] < room.y0 + 1 or box[3] > room.y1 + 8
            covered = sum(_overlap(box, other) for other in taken) + 3 * outside
            if best is None or covered < best[0]:
                best = (covered, dx, dy)
        if best is None or (best[0] and len(labels) > 10):
            continue
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=best[1:],
            textcoords="offset points",
            ha="center",
            va="center_baseline",
            color=label.colour,
        )
        taken.append(_box(x + best[1], y + best[2], width, FONT_PT + 1))


Box = tuple[float, float, float, float]


def _offsets(width: float) -> Iterator[tuple[float, float]]:
    for far in (0.0, 9.0, 18.0):
        side, up = width / 2 + 7 + far, 11.0 + far
        yield from ((0, up), (0, -up), (side, 0), (-side, 0))
        for near in (side / 2, side):
            yield from ((-near, up), (near, -up), (near, up), (-near, -up))


def _along(corners: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Points on the way from corner to corner, a twentieth of a stretch apart."""
    for (x0, y0), (x1, y1) in pairwise(corners):
        for step in range(1, 20):
            yield x0 + (x1 - x0) * step / 20, y0 + (y1 - y0) * step / 20


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
