"""The verb that watches a board: `monitor`."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_codegen.kernels.variant import Optimize
from tesla_host.cli.measure import BuildOption, TargetOption
from tesla_host.cli.options import (
    ModelArgument,
    OptimizeOption,
    ToolchainOption,
    build_folder,
    parse_dp_list,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tesla_embed.ir.graph import Model
    from tesla_host.cli.keys import Pressed
    from tesla_host.link.client import LinkClient
    from tesla_host.monitor import Monitor, News

_RANDOM_INPUTS = 64
_RETRY_S = 0.5
_PAUSE_S = 0.05
_DRAW_S = 0.1

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="SPEC", help="test samples: digits, idx:DIR ...; default: random inputs"
    ),
]
PortOption = Annotated[
    str | None, typer.Option(help="board that runs the model already: its port, or auto")
]
CycleOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="go on to the next region after N inferences")
]
LinesOption = Annotated[
    bool, typer.Option("--json", help="print JSON lines, as without a terminal anyway")
]
EveryOption = Annotated[float, typer.Option(min=0.0, help="seconds between two of those lines")]


def monitor(
    model: ModelArgument,
    target: TargetOption = "emulator",
    port: PortOption = None,
    data: DataOption = None,
    dp: Annotated[
        str | None, typer.Option("--dp", metavar="LIST", help="regions to look at; default: all")
    ] = None,
    cycle: CycleOption = 20,
    once: Annotated[bool, typer.Option("--once", help="each region once, then end")] = False,
    lines: LinesOption = False,
    every: EveryOption = 1.0,
    baud: Annotated[int, typer.Option(min=300, help="of serial ports")] = 115_200,
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    build_dir: BuildOption = None,
) -> None:
    """Show, live, what a board or an emulator makes of one input after the other.

    Latency by the device's own clock, accuracy so far with --data, throughput with the way through
    the link. A board that is lost is opened again when it is back; with --once that is an error.
    Keys: n and p or arrows change the region, c cycles through them or holds one, space pauses, q
    ends.

    Example: tesla-embed monitor m.safetensors --port /dev/ttyACM0 --data digits

    Example: tesla-embed monitor m.safetensors --target emulator --dp 20,100 --once --json
    """
    from tesla_embed.ir.store import load_model
    from tesla_host.link.ports import connection
    from tesla_host.monitor import Monitor
    from tesla_host.targets import check_runs

    place = connection(port) if port else target
    check_runs(place)
    loaded = load_model(model)
    chosen = parse_dp_list(dp) if dp else tuple(region.dp for region in loaded.regions)
    dps = [loaded.region(value).dp for value in chosen]
    inputs, classes = _samples(loaded, data)
    with build_folder(build_dir) as folder:
        connect = _way(loaded, place, folder, baud, (toolchain, optimize))
        with contextlib.closing(Monitor(connect, inputs, classes, dps)) as watched:
            course = _Course(cycle=cycle, once=once, regions=len(dps))
            if lines or not sys.stdout.isatty():
                _print_lines(watched, course, every)
            else:
                _show(watched, course)


@dataclass(slots=True)
class _Course:
    """Which region comes next, and when to end."""

    cycle: int
    once: bool
    regions: int
    holds: bool = False
    paused: bool = False
    ended: bool = False
    found_again: int = 0
    _left: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._left = self.cycle

    def advance(self, watched: "Monitor") -> bool:
        """After an inference; True when it was the region's last."""
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self.cycle
        self._done += 1
        if self.once and self._done == self.regions:
            self.ended = True
        elif not self.holds or self.once:
            watched.move(1)
        return True

    def press(self, key: str, watched: "Monitor") -> None:
        """Do what a key says."""
        steps = {"n": 1, "next": 1, "p": -1, "previous": -1}
        if key in steps:
            watched.move(steps[key])
            self.holds, self._left = True, self.cycle
        elif key == "c":
            self.holds = not self.holds
        elif key == " ":
            self.paused = not self.paused
        elif key == "q":
            self.ended = True


class _Keys:
    """Keys were pressed and nothing else happened: what is shown changes, no inference ran."""


def _run(
    watched: "Monitor", course: _Course, pressed: "Pressed"
) -> "Iterator[News | _Keys | None]":
    """News, or nothing after an inference, until the course ends.

    Raises `DeviceError` for a board that is lost with --once.
    """
    from tesla_embed.errors import DeviceError
    from tesla_host.monitor import Lost

    while not course.ended:
        keys = pressed()
        for key in keys:
            course.press(key, watched)
        if keys:
            yield _Keys()
        if course.paused or course.ended:
            time.sleep(_PAUSE_S)
            continue
        news = watched.step()
        yield news
        if isinstance(news, Lost):
            if course.once:
                raise DeviceError(news.reason)
            time.sleep(_RETRY_S)


def _print_lines(watched: "Monitor", course: _Course, every: float) -> None:
    """A line for a region at most `every` seconds and for its last run, and for each news."""
    import msgspec

    from tesla_host.monitor import Lost

    due, lost = time.monotonic(), False
    for news in _run(watched, course, list):
        assert not isinstance(news, _Keys)  # there are none
        if news is None:
            dp = watched.dp
            last = course.advance(watched) and (course.once or course.regions > 1)
            if not last and (course.once or time.monotonic() < due):
                continue
            due = time.monotonic() + every
        elif isinstance(news, Lost) and lost:
            continue  # said already
        lost = isinstance(news, Lost)
        print(msgspec.json.encode(news or watched.reading(dp)).decode(), flush=True)


def _show(watched: "Monitor", course: _Course) -> None:
    """A table that changes in place, and keys."""
    from rich.live import Live

    from tesla_host.cli.keys import keys
    from tesla_host.cli.terminal import console
    from tesla_host.monitor import Back, Lost

    state, due = "", 0.0
    with keys() as pressed, Live(_table(watched, course, state), console=console()) as live:
        for news in _run(watched, course, pressed):
            if isinstance(news, Lost):
                state = f"lost: {news.reason}"
            elif isinstance(news, Back):
                state, course.found_again = "", course.found_again + 1
            elif news is None:
                course.advance(watched)
            if news is not None or time.monotonic() >= due:
                live.update(_table(watched, course, state))
                due = time.monotonic() + _DRAW_S
        live.update(_table(watched, course, state))


def _table(watched: "Monitor", course: _Course, state: str) -> "RenderableType":
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    hello = watched.hello
    table = Table(
        title=f"{hello.model} on {hello.board} ({hello.cpu})",
        box=box.SIMPLE_HEAD,
    )
    for heading in ("", "DP %", "runs", "last ms", "median", "p95", "accuracy", "per second"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in watched.readings():
        here = row.dp == watched.dp
        table.add_row(
            ">" if here else "",
            str(row.dp),
            f"{row.runs:,}",
            *(_ms(value) for value in (row.last_us, row.median_us, row.p95_us)),
            "" if row.accuracy is None else f"{row.accuracy:.2%}",
            "" if row.per_second is None else f"{row.per_second:.1f}",
            style="bold" if here else None,
        )
    return Group(table, Text(state or _help(course), style="dim"))


def _help(course: _Course) -> str:
    if course.once:
        return "each region once; q ends"
    lost = f"; was lost {course.found_again} x" if course.found_again else ""
    doing = "paused" if course.paused else "holding" if course.holds else "cycling"
    return f"{doing}; n, p: region; c: cycle or hold; space: pause; q: end{lost}"


def _ms(us: float | None) -> str:
    return "" if us is None else f"{us / 1e3:.3f}"


def _samples(model: "Model", data: str | None) -> tuple[list[bytes], list[int] | None]:
    """Inputs as the board takes them, and their classes where they are known."""
    if data is None:
        from tesla_host.verifier import random_inputs

        return [x.tobytes() for x in random_inputs(model, _RANDOM_INPUTS)], None
    from tesla_embed.data import load_data
    from tesla_host.profiler import load_samples

    samples = load_samples(model, load_data(data, train=False))
    return [x.tobytes() for x in samples.x], samples.y.tolist()


def _way(
    model: "Model",
    name: str,
    folder: Path,
    baud: int,
    ways: tuple[str | None, Optimize],
) -> "Callable[[], LinkClient]":
    """How to connect, and to connect again: to a port, or by starting what is built now."""
    from tesla_embed.errors import ConfigError
    from tesla_host.cli.terminal import progress
    from tesla_host.link.client import LinkClient
    from tesla_host.link.ports import Port, is_connection
    from tesla_host.stations import expected_model, resolve_ports
    from tesla_host.targets import find_target, open_target
    from tesla_host.workbench import make_firmware

    expected = expected_model(model)
    if is_connection(name):
        found = resolve_ports(model, [name], baud)
        if len(found) > 1:
            raise ConfigError(f"{len(found)} boards run {model.name}: {', '.join(found)}; name one")
        port = Port(found[0], baud)
        return lambda: LinkClient(port.open(), expected, baud=baud)
    toolchain, optimize = ways
    with progress("building") as observer:
        row = find_target(name)
        made = make_firmware(
            model, row, folder, toolchain=toolchain, optimize=optimize, observer=observer
        )
    return lambda: LinkClient(open_target(name, made.build.elf), expected)
