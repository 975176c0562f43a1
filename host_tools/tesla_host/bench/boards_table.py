"""The matrix of boards as Markdown.

In: what `bench.boards` measured. Out: a table for each network that was wanted, with what did not
fit below it, and the compilers.
"""

from collections.abc import Iterator, Sequence

from tesla_host.bench.board_models import DPS, SMALLER
from tesla_host.bench.boards import BoardRow, Matrix

_HEADINGS = ("board", "core", "compiler", "network", "flash", "RAM", "stack used")
_LEFT = 4
"""Columns of text; the others are numbers."""


def as_markdown(matrix: Matrix) -> str:
    """The tables, a heading above each."""
    lines: list[str] = []
    for name, smaller in SMALLER.items():
        rows = [row for row in matrix.rows if row.model in (name, smaller)]
        if rows:
            lines += [f"## `{name}`", "", *_table(rows), "", *_notes(rows)]
    lines += ["## Compilers", ""]
    lines += [f"- {name}" for name in sorted({row.compiler for row in matrix.rows if row.compiler})]
    return "\n".join(lines) + "\n"


def summary(matrix: Matrix) -> str:
    """How many rows were bit-exact, compiled alone, wrong, or did not fit."""
    ran = [row for row in matrix.rows if row.bit_exact is not None]
    wrong = [row for row in ran if not row.bit_exact]
    homeless = [row for row in matrix.rows if row.flash_bytes is None]
    compiled = len(matrix.rows) - len(ran) - len(homeless)
    return (
        f"{len(matrix.rows)} builds: {len(ran) - len(wrong)} bit-exact in every region, "
        f"{len(wrong)} wrong, {compiled} compiled for boards that nothing emulates, "
        f"{len(homeless)} that do not fit"
    )


def _table(rows: Sequence[BoardRow]) -> Iterator[str]:
    headings = (*_HEADINGS, *(f"{dp} %" for dp in DPS), "result")
    aligned = ["---"] * _LEFT + ["---:"] * (len(headings) - _LEFT - 1) + ["---"]
    yield f"| {' | '.join(headings)} |"
    yield f"|{'|'.join(aligned)}|"
    for row in rows:
        counts = {cost.dp: cost.instructions for cost in row.regions}
        sizes = (row.flash_bytes, row.ram_bytes, row.stack_used)
        cells = [f"`{row.runs_as or row.target}`", row.cpu, row.toolchain, f"`{row.model}`"]
        cells += [_number(value) for value in (*sizes, *(counts.get(dp) for dp in DPS))]
        yield f"| {' | '.join([*cells, _result(row)])} |"


def _result(row: BoardRow) -> str:
    if row.bit_exact is None:
        return "does not fit" if row.flash_bytes is None else "compiles"
    return "bit-exact" if row.bit_exact else "**WRONG**"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _notes(rows: Sequence[BoardRow]) -> Iterator[str]:
    notes = [f"- {row.toolchain}: {row.note.split(';')[0]}" for row in rows if row.note]
    if notes:
        yield "Did not fit:"
        yield ""
        yield from notes
        yield ""
