"""`tesla-embed report`: one HTML file from what `profile` measured."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    profile_json: Annotated[Path, typer.Argument(help="What `profile --json` wrote.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Another profile to draw beside it; may be given several times."),
    ] = None,
) -> None:
    """Write a profile as one HTML file: accuracy, cost and memory of every region."""
    from tesla_host.report import write_report
    from tesla_host.results import read_profile

    others = [read_profile(path) for path in compare or []]
    write_report(read_profile(profile_json), out, others)
    typer.echo(out)
