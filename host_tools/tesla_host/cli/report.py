"""The verb that turns a measured profile into a page."""

from pathlib import Path
from typing import Annotated

import typer

from tesla_host.cli.verb import JsonOption, check_json, present

REPORT_SCHEMA = "tesla-embed/report/1"


def report(
    profile_json: Annotated[Path, typer.Argument(help="what profile --json wrote")],
    out: Annotated[Path, typer.Option(help="the HTML file to write")] = Path("report.html"),
    compare: Annotated[
        list[Path] | None, typer.Option(help="another profile to draw beside it; may be repeated")
    ] = None,
    cam: Annotated[
        Path | None, typer.Option(metavar="PNG", help="the picture that cam wrote, to show in it")
    ] = None,
    json_: JsonOption = None,
) -> None:
    """Write a profile as one HTML file: accuracy, cost and memory of every operating region.

    Example: tesla-embed report tesla.json --compare idp.json --cam cam.png --out report.html
    """
    from tesla_host.report import write_report
    from tesla_host.results import read_profile

    check_json(json_, profile_json, *(compare or []), cam)
    others = [read_profile(path) for path in compare or []]
    profile = read_profile(profile_json)
    write_report(profile, out, others, cam)
    names = [entry.model.name for entry in (profile, *others)]
    document = {"schema": REPORT_SCHEMA, "out": out, "models": names}
    present(json_, document, lambda: print(out))
