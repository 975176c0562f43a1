"""One compact table of all networks and kernels at 100 % DP, for the README.

In: the JSON files that `bench kernels` and `bench models` wrote. Out: Markdown; as a program,
`python -m tesla_host.bench.summary README.md docs/results`, it replaces what stands between the two
marks in a document. Refuses, with `ConfigError`, files without the rows that it needs, and a
document without marks.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tesla_embed import atomic
from tesla_embed.errors import ConfigError, TeslaEmbedError
from tesla_host.bench.rows import SCHEMA

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
FILES = ("models/models.json", "kernels/kernels.json")
"""Where the numbers are, below the folder of results."""
_CORES = ("emulator", "qemu:mps3-an547")
_TOOLCHAIN = "zig"
_HEADINGS = (
    "at 100 % DP", "MACs", "Cortex-M4", "CMSIS-NN", "ratio", "Cortex-M55", "CMSIS-NN", "ratio",
)  # fmt: skip


class _Peer(msgspec.Struct):
    instructions: int


class _Row(msgspec.Struct):
    name: str
    target: str
    toolchain: str
    dp: int
    macs: int
    instructions: int
    peer: _Peer | None
    ratio: float | None


class _Results(msgspec.Struct):
    schema: str
    rows: list[_Row]


def summary(results: Path) -> str:
    """The table, without an empty line around it."""
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|---|{'---:|' * (len(_HEADINGS) - 1)}"]
    for file in FILES:
        rows = _read(results / file)
        lines += [_line(name, rows, results / file) for name in dict.fromkeys(r.name for r in rows)]
    return "\n".join(lines)


def insert(document: str, table: str) -> str:
    """`document` with `table` between its marks."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"the document has no {BEGIN} and {END} to put the table between")
    return f"{head}{begin}\n{table}\n{end}{tail}"


def _read(path: Path) -> list[_Row]:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Results)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run `bench --out`") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: no numbers of `bench` ({error})") from error
    if found.schema != SCHEMA:
        raise ConfigError(f"{path}: schema {found.schema!r}, not {SCHEMA!r}")
    return [row for row in found.rows if row.dp == 100 and row.toolchain == _TOOLCHAIN]


def _line(name: str, rows: Sequence[_Row], path: Path) -> str:
    """One network or kernel on both cores."""
    cells = [f"`{name}`"]
    for target in _CORES:
        row = next((r for r in rows if (r.name, r.target) == (name, target)), None)
        if row is None:
            raise ConfigError(f"{path}: {name} was not measured on {target} with {_TOOLCHAIN}")
        if len(cells) == 1:
            cells.append(f"{row.macs:,}")
        peer = "" if row.peer is None else f"{row.peer.instructions:,}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        cells += [f"{row.instructions:,}", peer, ratio]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> None:
    """Put the table of a folder of results into a document."""
    document, results = map(Path, arguments)
    atomic.write_text(document, insert(document.read_text(encoding="utf-8"), summary(results)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except TeslaEmbedError as error:
        sys.exit(f"error: {error}")
