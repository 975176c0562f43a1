"""The page that stands before the matrix of boards.

In: what `bench.boards` measured. Out: Markdown that says what was built and run, and a table for
each network with the counts by core. Nothing is refused; every number comes from the matrix.
"""

from collections.abc import Iterator, Sequence

from tesla_host.bench.board_models import DPS, SMALLER
from tesla_host.bench.boards import BoardRow, Matrix
from tesla_host.targets import find_target

_MOST = DPS[-1]


def as_readme(matrix: Matrix) -> str:
    """The whole page."""
    kinds = list(dict.fromkeys(row.toolchain for row in matrix.rows))
    ran = [row for row in matrix.rows if row.bit_exact is not None]
    wrong = sum(not row.bit_exact for row in ran)
    homeless = sum(row.flash_bytes is None for row in matrix.rows)
    compiled = len(matrix.rows) - len(ran) - homeless
    lines = [
        "# The same networks on every board",
        "",
        f"    tesla-embed bench boards {' '.join(f'--toolchain {kind}' for kind in kinds)} "
        f"--inputs {matrix.inputs} --out docs/results/boards",
        "",
        "Rows of the catalogue with a core, by each compiler: an MLP of 784-100-100-10 and a small",
        "CNN (16x16x3, a residual block, depthwise convolutions) with random weights, in the",
        f"operating regions {', '.join(f'{dp} %' for dp in DPS)}. Warnings are errors. Where this",
        f"machine can run the board, random inputs ({matrix.inputs} of them) go through every",
        "region, and every output must be the interpreter's.",
        "",
        f"Of {len(matrix.rows)} builds, {len(ran)} ran, of which {len(ran) - wrong} were bit-exact",
        f"and {wrong} wrong; {compiled} are for boards that nothing emulates, and were only",
        f"compiled; {homeless} do not fit their board.",
        "",
        "[boards.md](boards.md) has the tables, [boards.json](boards.json) the same for machines:",
        "flash with the whole firmware, RAM without the stack, the most stack that was used, and",
        "instructions of one inference in each region. Where a network does not fit, a smaller one",
        "stands in for it.",
        "",
    ]
    for name in SMALLER:
        rows = [row for row in ran if row.model == name and row.regions]
        if rows:
            lines += [f"Instructions of one inference of `{name}` with all channels, by core:", ""]
            lines += [*_table(rows, kinds), ""]
    return "\n".join([*lines, "Counts are no cycles.", ""])


def _table(rows: Sequence[BoardRow], kinds: Sequence[str]) -> Iterator[str]:
    """A line for each core and kernels; where its boards differ, from the smallest on."""
    yield f"| core | kernels | {' | '.join(kinds)} |"
    yield f"|---|---|{'---:|' * len(kinds)}"
    for key in dict.fromkeys(map(_key, rows)):
        cells = [_cell([row for row in rows if _key(row) == key], kind) for kind in kinds]
        yield f"| {' | '.join([*key, *cells])} |"


def _key(row: BoardRow) -> tuple[str, str]:
    return row.cpu, find_target(row.target).isa.value


def _cell(rows: Sequence[BoardRow], kind: str) -> str:
    """The counts of boards with one core, by one compiler: one number, unless they differ."""
    costs = (cost for row in rows if row.toolchain == kind for cost in row.regions)
    counts = {c.instructions for c in costs if c.dp == _MOST and c.instructions is not None}
    return " to ".join(
        f"{count:,}" for count in sorted({min(counts), max(counts)} if counts else ())
    )
