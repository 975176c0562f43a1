"""The paper's Figures 3 and 4: accuracy over DP percentage, one curve per row, as SVG.

In: the rows of one recipe. Out: an SVG text, the same for the same rows. The left half shows all of
it, the right half the same curves where the best ones are, which lie close together.
"""

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tesla_host.compare.results import MEASURED, RowResult

_ZOOM = 8.0
"""Height of the right half, in points of accuracy."""

_MARKERS = "os^Dvphx*+<>"
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "tesla-embed", "font.size": 9}


def draw(rows: Sequence[RowResult], title: str) -> str:
    """Draw `rows`, which have accuracies for at least one percentage each."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        figure = Figure(figsize=(11, 5.2))
        whole, zoom = figure.subplots(1, 2)
        for axes in (whole, zoom):
            _curves(axes, rows)
        best = max(100 * value for row in rows for value in row.mean.values())
        zoom.set_ylim(best - _ZOOM, best + _ZOOM / 20)
        whole.set_ylabel("test accuracy (%)")
        whole.set_title(title)
        zoom.set_title("the same, near the top")
        handles, labels = whole.get_legend_handles_labels()
        columns = min(4, len(labels))
        figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False)
        lines = -(-len(labels) // columns)
        figure.subplots_adjust(0.06, 0.13 + 0.045 * lines, 0.99, 0.94, wspace=0.12)
        target = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(target, format="svg", metadata=nothing)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines()) + "\n"


def _curves(axes: Axes, rows: Sequence[RowResult]) -> None:
    for index, row in enumerate(rows):
        dps = list(row.mean)
        axes.errorbar(
            dps,
            [100 * row.mean[dp] for dp in dps],
            [100 * row.sd.get(dp, 0.0) for dp in dps],
            label=row.label if row.source == MEASURED else f"{row.label} ({row.source})",
            color=f"C{index % 10}",
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=4,
            linewidth=1.2,
            linestyle="-" if row.source == MEASURED else ":",
            fillstyle="full" if row.source == MEASURED else "none",
            capsize=2,
        )
    axes.set_xlim(0, 105)
    axes.set_xlabel("dot-product percentage (DP)")
    axes.grid(alpha=0.3)
