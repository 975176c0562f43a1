"""What each layer costs in each region: bands for the figure, rows for the tables.

A page can hold only so much: at most `BANDS` layers are drawn apart, `COLUMNS` regions stand side
by side and about `ROWS` rows below each other; what is left out is said, and stands in the JSON.
"""

from collections.abc import Sequence

from tesla_host.report.choice import Unit
from tesla_host.report.figures import Band
from tesla_host.report.numbers import NBSP, UNKNOWN, grouped, percent, ratio
from tesla_host.report.svg import SERIES
from tesla_host.report.views import Table
from tesla_host.results import LayerCost, RegionResult

BANDS = 7
COLUMNS = 12
ROWS = 240


def layer_unit(regions: Sequence[RegionResult]) -> Unit:
    """Instructions where every layer has them, else MACs."""
    costs = [layer.instructions for region in regions for layer in region.layers]
    return "MACs" if None in costs else "instructions"


def bands(regions: Sequence[RegionResult], unit: Unit) -> tuple[Band, ...]:
    """The layers in execution order; beyond `BANDS`, the cheap ones go together, on top."""
    count = max(len(region.layers) for region in regions)
    costs = [tuple(_cost(_at(r, i), unit) for r in regions) for i in range(count)]
    labels = [next(layer.name for r in regions if (layer := _at(r, i))) for i in range(count)]
    dearest = sorted(range(count), key=lambda i: (-max(costs[i]), i))
    apart = sorted(dearest[: BANDS if count <= BANDS else BANDS - 1])
    found = [
        Band(label=labels[i], ink=SERIES[place], costs=costs[i]) for place, i in enumerate(apart)
    ]
    rest = sorted(set(range(count)) - set(apart))
    if rest:
        together = tuple(sum(costs[i][r] for i in rest) for r in range(len(regions)))
        found.append(Band(label=f"{len(rest)} cheaper layers", ink=SERIES[7], costs=together))
    return tuple(found)


def shown(regions: Sequence[RegionResult], limit: int = COLUMNS) -> list[RegionResult]:
    """All regions, or `limit` (at least two) of them spread evenly, both ends included."""
    last = len(regions) - 1
    if last < limit:
        return list(regions)
    return [regions[round(i * last / (limit - 1))] for i in range(limit)]


def rate_table(regions: Sequence[RegionResult], unit: Unit) -> Table:
    """Instructions per MAC, or the MACs themselves: one row per layer, one column per region."""
    chosen = shown(regions)
    rows = []
    for index in range(max(len(region.layers) for region in chosen)):
        cells = [_at(region, index) for region in chosen]
        head = next(cell for cell in cells if cell)
        values = [
            UNKNOWN
            if cell is None
            else _rate(cell)
            if unit == "instructions"
            else grouped(cell.macs)
            for cell in cells
        ]
        rows.append((head.name, head.op, *values))
    return Table(
        caption="Instructions per MAC" if unit == "instructions" else "MACs",
        columns=("layer", "operation", *(f"{region.dp}{NBSP}%" for region in chosen)),
        rows=tuple(rows),
        words=2,
    )


def cost_table(regions: Sequence[RegionResult]) -> Table:
    """Every number of every layer, for as many regions as `ROWS` allows."""
    most = max(len(region.layers) for region in regions)
    chosen = shown(regions, max(2, ROWS // most))
    rows = [
        (
            layer.name,
            layer.op,
            f"{region.dp}{NBSP}%",
            grouped(layer.macs),
            grouped(layer.instructions),
            grouped(layer.cycles_estimate),
            _rate(layer),
        )
        for region in chosen
        for layer in region.layers
    ]
    return Table(
        caption="Every layer, "
        + (
            "all regions"
            if len(chosen) == len(regions)
            else f"{len(chosen)} of {len(regions)} regions"
        ),
        columns=("layer", "operation", "DP", "MACs", "instructions", "cycles", "per MAC"),
        rows=tuple(rows),
        words=2,
    )


def cover_note(regions: Sequence[RegionResult], unit: Unit) -> str:
    """What part of an inference the layers explain, and which regions the tables leave out."""
    full = max(regions, key=lambda region: region.dp)
    notes = []
    if unit == "instructions" and full.instructions:
        total = sum(layer.instructions or 0 for layer in full.layers)
        share = percent(ratio(total, full.instructions.median), 1)
        notes.append(f"At DP {full.dp}{NBSP}% the layers make up {share} of an inference.")
    if unit == "MACs":
        notes.append("This target does not count instructions, so MACs are shown.")
    if len(regions) > COLUMNS:
        notes.append(
            f"The tables hold some of the {len(regions)} regions; the others are in the JSON."
        )
    return " ".join(notes)


def _at(region: RegionResult, index: int) -> LayerCost | None:
    return region.layers[index] if index < len(region.layers) else None


def _cost(layer: LayerCost | None, unit: Unit) -> int:
    if layer is None:
        return 0
    return (layer.instructions or 0) if unit == "instructions" else layer.macs


def _rate(layer: LayerCost) -> str:
    return grouped(ratio(layer.instructions, layer.macs), 2)
