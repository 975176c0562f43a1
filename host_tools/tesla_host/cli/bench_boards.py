"""The verb `bench boards`: the same networks on every board of the catalogue."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tesla_embed import atomic
from tesla_host.cli.terminal import console, need_torch, progress
from tesla_host.cli.verb import JsonOption, as_text, check_json, present

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tesla_host.bench.boards import Matrix
    from tesla_host.catalogue import Target

_FILES = ("boards.json", "boards.md", "README.md")
_USUAL = ("zig", "gcc")
"""Toolchains that every board can be built by."""


def boards(
    only: Annotated[
        str | None, typer.Option("--only", metavar="NAMES", help="comma-separated; else all")
    ] = None,
    toolchain: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="zig, gcc or clang; repeatable  [default: zig and gcc]"),
    ] = None,
    inputs: Annotated[int, typer.Option("--inputs", min=1, help="random ones per region")] = 2,
    json_: JsonOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="for boards.json, boards.md and README.md"),
    ] = None,
) -> None:
    """Build an MLP and a CNN for every board, and run them wherever it is emulated.

    Warnings are errors, and every output must be the interpreter's. What does not fit is replaced
    by a smaller network.

    Example: tesla-embed bench boards --only emulator,qemu:virt --toolchain gcc --toolchain clang
    """
    from tesla_host.bench import boards as matrix

    rows = matrix.choose_boards(only)
    kinds = matrix.check_toolchains(rows, toolchain or _USUAL)
    check_json(json_)
    for path in [out / name for name in _FILES] if out is not None else []:
        atomic.check_writable(path)
    need_torch()
    matrix.missing_tools(rows, kinds)
    made = _measure([(row, kind) for row in rows for kind in kinds], inputs)
    if out is not None:
        _write(made, out)
    present(json_, made, lambda: _print(made))
    if any(row.bit_exact is False for row in made.rows):
        raise typer.Exit(1)


def _measure(work: "Sequence[tuple[Target, str]]", inputs: int) -> "Matrix":
    """Every board by its compiler, in folders that are gone afterwards."""
    from tesla_embed import __version__
    from tesla_host.bench import boards as matrix

    found: list[matrix.BoardRow] = []
    with (
        progress("measuring boards") as observer,
        tempfile.TemporaryDirectory(prefix="tesla-embed-") as folder,
    ):
        for number, (row, kind) in enumerate(work):

            def tell(what: str, share: float = number / len(work)) -> None:
                observer(what, share)

            found += matrix.measure_board(row, kind, Path(folder), inputs=inputs, observer=tell)
    return matrix.Matrix(
        schema=matrix.SCHEMA, version=__version__, inputs=inputs, rows=tuple(found)
    )


def _write(made: "Matrix", out: Path) -> None:
    """All files of the folder."""
    from tesla_host.bench.boards_readme import as_readme
    from tesla_host.bench.boards_table import as_markdown

    out.mkdir(parents=True, exist_ok=True)
    texts = (as_text(made), as_markdown(made), as_readme(made))
    for name, text in zip(_FILES, texts, strict=True):
        atomic.write_text(out / name, text)


def _print(made: "Matrix") -> None:
    from tesla_host.bench.boards_table import summary

    table = Table()
    for heading in ("board", "compiler", "network", "flash", "RAM", "100 %", "exact"):
        table.add_column(heading)
    for row in made.rows:
        count = row.regions[-1].instructions if row.regions else None
        numbers = (row.flash_bytes, row.ram_bytes, count)
        exact = {None: "not run", True: "yes", False: "NO"}[row.bit_exact]
        cells = ("" if value is None else f"{value:,}" for value in numbers)
        table.add_row(row.runs_as or row.target, row.toolchain, row.model, *cells, exact)
    console().print(table)
    print(summary(made))
