"""A comparison as Markdown: one line per row, then one line per DP percentage.

In: a `Comparison`. Out: text, the same for the same comparison. Accuracies in percent, mean ±
sample standard deviation over the seeds.
"""

from collections.abc import Sequence

from tesla_host.compare.results import MEASURED, Comparison, RowResult

_COLUMNS = (10, 20, 50, 100)


def markdown(comparison: Comparison) -> str:
    """The whole document; figures are expected beside it as RECIPE.svg."""
    lines = [
        "# Comparison of training algorithms",
        "",
        f"Made by tesla-embed {comparison.tool_version} on `{comparison.data}` with",
        "",
        f"    {comparison.command}",
        "",
        "Accuracy on the test set in percent, mean ± sample standard deviation over the seeds.",
        "Early stopping and the choice of the best epoch use a validation split of the training",
        "set, never the test set.",
    ]
    if comparison.failed:
        lines += ["", "Missing, because they failed:", ""]
        lines += [f"- {' '.join(text.split())}" for text in comparison.failed]
    for recipe in dict.fromkeys(row.recipe for row in comparison.rows):
        rows = [row for row in comparison.rows if row.recipe == recipe]
        lines += ["", f"## {recipe}", "", f"![accuracy over DP percentage]({recipe}.svg)", ""]
        lines += _summary(rows, comparison.dps)
        lines += ["", "At every percentage, with the true multiply-accumulates (MACs):", ""]
        lines += _grid([row for row in rows if row.source == MEASURED], comparison.dps)
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[RowResult], dps: Sequence[int]) -> list[str]:
    """One line per row: the mean over the grid and a few percentages."""
    columns = [dp for dp in _COLUMNS if any(dp in row.mean for row in rows)]
    heading = ["training", "source", "seeds", "epochs", f"mean of {dps[0]} to {dps[-1]} % DP"]
    lines = _heading([*heading, *(f"{dp} %" for dp in columns)], left=2)
    for row in rows:
        epochs = sum(run.epochs for run in row.runs) / len(row.runs) if row.runs else None
        cells = [
            row.label,
            row.source,
            str(len(row.runs) or ""),
            "" if epochs is None else f"{epochs:.0f}",
            _cell(row.mean_accuracy, row.mean_accuracy_sd),
            *(_cell(row.mean.get(dp), row.sd.get(dp)) for dp in columns),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _grid(rows: Sequence[RowResult], dps: Sequence[int]) -> list[str]:
    """One line per percentage, one column per row."""
    lines = _heading(["DP %", "MACs", "of full", *(row.label for row in rows)], left=0)
    differ = False
    for dp in dps:
        macs = rows[0].macs[dp]
        cells = [str(dp), f"{macs:,}", f"{macs / rows[0].full_macs:.1%}"]
        for row in rows:
            other = row.macs[dp] != macs
            differ |= other
            cells.append(_cell(row.mean[dp], row.sd.get(dp)) + ("\\*" if other else ""))
        lines.append(f"| {' | '.join(cells)} |")
    note = "\\* at a cost other than stated, which is in compare.json"
    return [*lines, "", note] if differ else lines


def _heading(names: Sequence[str], left: int) -> list[str]:
    rule = ["---" if index < left else "---:" for index in range(len(names))]
    return [f"| {' | '.join(names)} |", f"| {' | '.join(rule)} |"]


def _cell(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return ""
    return f"{100 * mean:.2f}" + ("" if sd is None else f" ± {100 * sd:.2f}")
