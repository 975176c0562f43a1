"""The verbs `bench kernels` and `bench models` behind their options.

In: what the user asked for. Out: rows, printed and written. PyTorch is imported only where a
network has to be made.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed import atomic
from tesla_embed.errors import ConfigError
from tesla_host.cli.completion import complete_target
from tesla_host.cli.options import OptimizeOption, ToolchainsOption
from tesla_host.cli.terminal import console, need_torch, progress
from tesla_host.cli.verb import JsonOption, as_text, check_json, present

if TYPE_CHECKING:
    from tesla_host.bench.campaign import Campaign
    from tesla_host.bench.rows import Row

_PATHS = {"--cmsis-nn": "DIR", "--out": "DIR", "--json": "FILE.json"}
_DENSE = (50, 25)
"""Percentages of the comparison with dense tensors in a document."""

TargetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help="emulated board; repeatable  [default: emulator]",
        autocompletion=complete_target,
    ),
]
OnlyOption = Annotated[
    str | None, typer.Option("--only", metavar="NAMES", help="comma-separated; else all")
]
IsaOption = Annotated[
    Isa | None, typer.Option(help="whose kernels; else those of the target's core")
]
PortableOption = Annotated[bool, typer.Option(help="measure the portable C, too")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="write the numbers and a README.md with tables here"),
]


def kernels(
    target: TargetsOption = None,
    toolchain: ToolchainsOption = None,
    only: OnlyOption = None,
    isa: IsaOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    portable: PortableOption = True,
    dense: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="only this DP percentage, without channels beyond it"),
    ] = None,
    cmsis_nn: Annotated[
        Path | None,
        typer.Option("--cmsis-nn", metavar="DIR", help="your checkout; measure it here, too"),
    ] = None,
    json_: JsonOption = None,
    out: OutOption = None,
) -> None:
    """Count what kernels execute on an emulated core, in every region, beside CMSIS-NN.

    Each is a small network of random weights; outputs are compared with the interpreter's first.

    Example: tesla-embed bench kernels --only conv3x3-8x8x64-64,fc-784-128
    """
    from tesla_host.bench.campaign import measure_kernels
    from tesla_host.bench.cases import find_cases
    from tesla_host.bench.cmsis_nn import find_checkout

    if dense is not None and out is not None:
        raise ConfigError("--out writes all regions; leave --dense out")
    cases = find_cases(only)
    checkout = None if cmsis_nn is None else find_checkout(cmsis_nn)
    campaign = _campaign(target, toolchain, isa, optimize, portable)
    document = _check(out, "kernels", json_)
    with progress("measuring kernels") as observer:
        rows = measure_kernels(campaign, cases, observer, dense=dense, checkout=checkout)
    narrow: list[Row] = []
    for dp in _DENSE if document else ():
        plain = _campaign(target, toolchain, isa, optimize, False)
        with progress(f"dense tensors, {dp} %") as observer:
            narrow += measure_kernels(plain, cases, observer, dense=dp)
    _finish(rows, json_, document, "Kernels on emulated cores", narrow)


def models(
    target: TargetsOption = None,
    toolchain: ToolchainsOption = None,
    only: OnlyOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME=FILE", help="your integer model; repeatable"),
    ] = None,
    isa: IsaOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    portable: PortableOption = True,
    json_: JsonOption = None,
    out: OutOption = None,
) -> None:
    """Count what MLPerf Tiny's four networks execute, and what they need, beside their peers.

    kws, ic, vww and ad are the networks of our recipes with seeded weights, or your --model files.
    Outputs are compared with the interpreter's in every region.

    Example: tesla-embed bench models --only ad,kws --target qemu:mps3-an547
    """
    from tesla_host.bench.campaign import measure_networks
    from tesla_host.bench.networks import find_benchmarks, parse_models

    benches, files = find_benchmarks(only), parse_models(model or [])
    for name in files.keys() - {bench.name for bench in benches}:
        raise ConfigError(f"--model {name}: {name} is not measured; name it in --only, too")
    campaign = _campaign(target, toolchain, isa, optimize, portable)
    document = _check(out, "models", json_, *files.values())
    if any(bench.name not in files for bench in benches):
        need_torch()
    with progress("measuring networks") as observer:
        rows = measure_networks(campaign, benches, files, observer)
    _finish(rows, json_, document, "MLPerf Tiny's networks on emulated cores")


def _campaign(
    target: list[str] | None,
    toolchain: list[str] | None,
    isa: Isa | None,
    optimize: Optimize,
    portable: bool,
) -> "Campaign":
    """What to measure on; refuses at once what cannot be."""
    from tesla_host.bench.campaign import Campaign

    campaign = Campaign(
        targets=target or ["emulator"],
        toolchains=toolchain or (),
        isa=isa,
        optimize=optimize,
        portable=portable,
    )
    campaign.choices()
    return campaign


def _check(out: Path | None, name: str, json_: Path | None, *inputs: Path) -> Path | None:
    """The file of numbers in `out`, where a document was asked for; all can be written."""
    check_json(json_, *inputs)
    if out is None:
        return None
    for file in (out / f"{name}.json", out / "README.md"):
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.check_writable(file, *inputs)
    return out / f"{name}.json"


def _finish(
    rows: "list[Row]",
    json_: Path | None,
    document: Path | None,
    title: str,
    dense: "Sequence[Row]" = (),
) -> None:
    """Write and print."""
    from tesla_host.bench.report import markdown
    from tesla_host.bench.rows import as_json

    if document is not None:
        atomic.write_text(document, as_text(as_json(rows)))
        atomic.write_text(
            document.with_name("README.md"), markdown(title, _command(sys.argv[1:]), rows, dense)
        )
    present(json_, as_json(rows), lambda: _print(rows))


def _command(words: Sequence[str]) -> str:
    """The command line as it was typed, but what lies elsewhere on this machine."""
    shown, option = ["tesla-embed"], ""
    for word in words:
        name, sign, value = word.partition("=")
        if word.startswith("--"):
            shown.append(f"{name}={_anywhere(name, value)}" if sign else word)
            option = word
        else:
            shown.append(_anywhere(option, word))
            option = ""
    return shlex.join(shown)


def _anywhere(option: str, value: str) -> str:
    """A value, or what stands for it in the help where it is a path that nobody else has."""
    if option == "--model":
        return f"{value.partition('=')[0]}=FILE"
    path = Path(value)
    outside = path.is_absolute() or value.startswith("~") or ".." in path.parts
    return _PATHS[option] if option in _PATHS and outside else value


def _print(rows: "Sequence[Row]") -> None:
    from tesla_host.bench import report

    for group in report.by_setting(rows):
        columns = report.used_columns(group)
        table = Table(title=report.setting_text(group[0]), caption=report.CAPTION)
        table.add_column("", no_wrap=True)
        for column in columns:
            table.add_column(column.heading, justify="right")
        for row in group:
            table.add_row(row.name, *(column.cell(row) for column in columns))
        console().print(table)
        _print_memory(report.memory_table(group))
    for name in report.peer_names(rows):
        print(f"peer: {name}")


def _print_memory(lines: Sequence[Sequence[str]]) -> None:
    if not lines:
        return
    table = Table(title="bytes")
    for number, heading in enumerate(lines[0]):
        table.add_column(heading, justify="right" if number else "left")
    for line in lines[1:]:
        table.add_row(*line)
    console().print(table)
