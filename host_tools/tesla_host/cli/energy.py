"""The verb that adds energy to a profile: `energy`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_host.energy.align import EnergyResult


def energy(
    profile_json: Annotated[Path, typer.Argument(help="what profile --json wrote of this run")],
    csv: Annotated[Path, typer.Option("--csv", metavar="FILE", help="export of a current probe")],
    volts: Annotated[
        float | None, typer.Option(help="the supply; for exports without a column of voltage")
    ] = None,
    marker: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="the digital input; default: D0")
    ] = None,
    json_: JsonOption = None,
) -> None:
    """Tell the energy of an inference in every region, from a current probe's record of a profile.

    The probe records current while `profile` runs on one board, and a pin that the firmware raises
    around each inference. Exports of Nordic's PPK2 and of Joulescope are understood, and any table
    with columns of time and current.

    Example: tesla-embed energy p.json --csv ppk2.csv --volts 3.3

    Example: tesla-embed energy p.json --csv trace.csv --marker D4 --json e.json
    """
    from tesla_host.cli.terminal import progress
    from tesla_host.energy.align import energy_of
    from tesla_host.energy.trace import read_trace
    from tesla_host.results import read_profile

    check_json(json_, profile_json, csv)
    profile = read_profile(profile_json)
    with progress("reading") as observer:
        trace = read_trace(
            csv, volts=volts, marker=marker, observer=lambda share: observer("", share)
        )
        result = energy_of(trace, profile)
    present(json_, result, lambda: _print(result))


def _print(result: "EnergyResult") -> None:
    from rich import box
    from rich.table import Table

    from tesla_host.cli.terminal import console

    table = Table(title=f"energy of {result.model} on {result.target}", box=box.SIMPLE_HEAD)
    for heading in ("DP %", "runs", "ms", "mW", "µJ", "p95", "idle mW", "net µJ", "p95"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.regions:
        table.add_row(
            str(row.dp),
            f"{row.runs:,}",
            f"{row.duration_us.median / 1e3:.3f}",
            f"{row.power_mw:.3f}",
            *(f"{value:.2f}" for value in (row.energy_uj.median, row.energy_uj.p95)),
            f"{row.idle_power_mw:.3f}",
            *(f"{value:.2f}" for value in (row.net_energy_uj.median, row.net_energy_uj.p95)),
        )
    console().print(table)
    print(
        f"{result.pulses:,} pulses in {result.samples:,} samples, one each {result.period_us:g} "
        "µs; net: without what the board takes between its inferences"
    )
