"""Rows of `bench` as text: the cells of a table, and the document that stands beside the numbers.

In: rows. Out: headings and cells, which the command line prints, and Markdown, the same for the
same rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from tesla_host.bench.rows import Row

CAPTION = (
    "cycles*: estimates for memory without wait states, of Cortex-M55 within 20 % at best; "
    "ratio: of the peer's; estimate: how far off it was"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and what stands below it."""

    heading: str
    cell: Callable[[Row], str]


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _each(row: Row) -> str:
    return f"{row.counts.instructions / row.macs:.3f}" if row.macs else ""


def _portable(row: Row) -> str:
    return _count(row.portable.instructions if row.portable else None)


def _estimate(row: Row) -> str:
    return "" if row.estimate is None else f"{100 * row.estimate.error:+.2f} %"


COLUMNS = (
    Column("DP %", lambda row: str(row.dp)),
    Column("MACs", lambda row: _count(row.macs)),
    Column("instructions", lambda row: _count(row.counts.instructions)),
    Column("each", _each),
    Column("estimate", _estimate),
    Column("cycles*", lambda row: _count(row.counts.cycles_estimate)),
    Column("portable C", _portable),
    Column("peer", lambda row: _count(row.peer.instructions if row.peer else None)),
    Column("ratio", lambda row: _share(row.ratio)),
    Column("cycles* ratio", lambda row: _share(row.ratio_cycles)),
)
"""Below the row's name. A figure that is to stand beside these is one more line here."""

_MEMORY = (
    Column("flash", lambda row: _count(row.flash_bytes)),
    Column("of it weights", lambda row: _count(row.memory.weights if row.memory else None)),
    Column("tables", lambda row: _count(row.memory.tables if row.memory else None)),
    Column("peer's flash", lambda row: _count(row.peer.flash_bytes if row.peer else None)),
    Column("RAM", lambda row: _count(row.ram_bytes)),
    Column("of it stack", lambda row: _count(row.memory.stack if row.memory else None)),
    Column("peer's RAM", lambda row: _count(row.peer.ram_bytes if row.peer else None)),
)
"""Bytes of whole networks."""


def used_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that have something to say of these rows."""
    return [column for column in COLUMNS if any(column.cell(row) for row in rows)]


def by_setting(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows of one target and compiler each, as they follow one another."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row.setting)]


def setting_text(row: Row) -> str:
    """Where and how the rows of a table were measured."""
    setting = row.setting
    return (
        f"{setting.target}, {setting.compiler}, {setting.isa} kernels, optimize {setting.optimize}"
    )


def peer_names(rows: Iterable[Row]) -> list[str]:
    """Every peer that the rows name, once."""
    return sorted({row.peer.name for row in rows if row.peer is not None})


def memory_table(rows: Sequence[Row]) -> list[list[str]]:
    """Headings, then one line per network: bytes, which are the same in all regions."""
    last = {row.name: row for row in rows if row.memory is not None}
    if not last:
        return []
    lines = [[row.name, *(column.cell(row) for column in _MEMORY)] for row in last.values()]
    return [["", *(column.heading for column in _MEMORY)], *lines]


def markdown(title: str, command: str, rows: Sequence[Row], dense: Sequence[Row] = ()) -> str:
    """The whole document; `dense` are kernels measured without channels beyond a percentage."""
    lines = [
        f"# {title}",
        "",
        "Instructions are counted exactly and are the same at every run; cycles\\* are estimates",
        "for memory without wait states, of Cortex-M55 within 20 % at best",
        "([how](../../targets.md#how-counting-works)). Outputs equal the integer interpreter's in",
        "every region. At less than 100 % DP the peer computes dense, smaller tensors, where",
        "somebody measured that. An [estimate](../../estimating.md) is so far off. Written by",
        "",
        f"    {command}",
    ]
    for group in by_setting(rows):
        lines += ["", f"## {setting_text(group[0])}", ""]
        columns = used_columns(group)
        lines += _heading(["", *(_escaped(column.heading) for column in columns)])
        lines += [_line([row.name, *(column.cell(row) for column in columns)]) for row in group]
        names = peer_names(group)
        lines += ["", f"Peer: {'; '.join(names)}."] if names else []
        lines += _memory_lines(group)
        lines += _dense_lines(group, [row for row in dense if row.setting == group[0].setting])
    return "\n".join(lines) + "\n"


def _memory_lines(rows: Sequence[Row]) -> list[str]:
    table = memory_table(rows)
    if not table:
        return []
    return ["", "Bytes:", "", *_heading(table[0]), *map(_line, table[1:])]


def _dense_lines(rows: Sequence[Row], dense: Sequence[Row]) -> list[str]:
    """What channels that are not active cost: against the same kernel where they do not exist."""
    if not dense:
        return []
    wide = {(row.name, row.dp): row.counts.instructions for row in rows}
    dps = sorted({row.dp for row in dense}, reverse=True)
    more = {(row.name, row.dp): wide[row.name, row.dp] - row.counts.instructions for row in dense}
    lines = ["", "Instructions more than on tensors that have no other channels:", ""]
    lines += _heading(["", *(f"at {dp} %" for dp in dps)])
    names = dict.fromkeys(row.name for row in dense)
    return [*lines, *(_line([name, *(f"{more[name, dp]:+,}" for dp in dps)]) for name in names)]


def _heading(cells: Sequence[str]) -> list[str]:
    return [_line(cells), f"|---|{'---:|' * (len(cells) - 1)}"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("*", "\\*")
