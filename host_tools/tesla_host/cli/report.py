"""The verb that turns a measured profile into a page."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    profile_json: Annotated[Path, typer.Argument(help="what profile --json wrote")],
    out: Annotated[Path, typer.Option(help="the HTML file to write")] = Path("report.html"),
    compare: Annotated[
        list[Path] | None, typer.Option(help="another profile to draw beside it; may be repeated")
    ] = None,
    cam: Annotated[
        Path | None, typer.Option(metavar="PNG", help="the picture that cam wrote, to show in it")
    ] = None,
) -> None:
    """Write a profile as one HTML file: accuracy, cost and memory of every operating region.

    Example: tesla-embed report tesla.json --compare idp.json --cam cam.png --out report.html
    """
    from tesla_host.report import write_report
    from tesla_host.results import read_profile

    others = [read_profile(path) for path in compare or []]
    write_report(read_profile(profile_json), out, others, cam)
    print(out)
