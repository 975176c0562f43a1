"""What verbs show: progress on stderr, tables on stdout."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tesla_embed.errors import ToolchainError
from tesla_embed.tflite.builder import INSTALL
from tesla_host.inspection import Inspection, Value
from tesla_host.regression import Worse
from tesla_host.results import Profile, RegionResult, Throughput, Verification

TIMING_NOTE = "an estimate: published Cortex-M4 timings, zero wait states"
_PIPE_WIDTH = 120
"""Columns of a table that goes to a file or another program."""


def console() -> Console:
    """Standard output, wide enough for every table where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


class _Bar(Progress):
    """A bar after which an error can stand alone."""

    def stop(self) -> None:
        """End it; where there is no terminal, rich itself prints an empty line in any case."""
        self.live.stop()
        if not (self.console.is_interactive or self.live.transient):
            self.console.print()


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr; yields a function that takes a status and the share done, 0 to 1."""
    with _Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[status]}"),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(what, total=1.0, status="")
        try:
            yield lambda status, fraction: bar.update(task, completed=fraction, status=status)
        except BaseException:
            bar.live.transient = True  # the error stands alone
            raise
        bar.update(task, completed=1.0, status="")


def need_torch() -> None:
    """Raise `ToolchainError` if PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ToolchainError("this needs PyTorch; run: pip install 'tesla-embed[train]'") from error


def print_profile(profile: Profile) -> None:
    """The regions' table, and below it what is said once; p95 where any run took longer."""
    table = Table(title=f"{profile.model.name} on {profile.target.name}", box=box.SIMPLE_HEAD)
    spread = any(_ms(region.latency_us) != _p95(region) for region in profile.regions)
    for heading in (
        "DP %", "MACs", "of full", "float", "device", "instructions", "cycles*", "ms",
        *(("p95",) if spread else ()), "exact",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for region in profile.regions:
        table.add_row(
            str(region.dp),
            f"{region.macs:,}",
            f"{region.macs_fraction:.1%}",
            "" if region.accuracy_float is None else f"{region.accuracy_float:.2%}",
            f"{region.accuracy:.2%}",
            _number(region.instructions.median if region.instructions else None),
            _number(region.cycles_estimate),
            _ms(region.latency_us),
            *((_p95(region),) if spread else ()),
            "yes" if region.bit_exact else "NO",
        )
    console().print(table)
    _print_costs(profile)
    _print_memory(profile)


def _print_costs(profile: Profile) -> None:
    """What the first inference in a region costs, and selecting it: both may be no constant."""
    first = [region.first_us for region in profile.regions if region.first_us is not None]
    counted = [r.first_instructions for r in profile.regions if r.first_instructions is not None]
    switch = [region.switch_us for region in profile.regions if region.switch_us is not None]
    steps = [r.switch_instructions for r in profile.regions if r.switch_instructions is not None]
    costs = {
        "first inference in a region": (_range(first, "µs"), _range(counted, "instructions")),
        "selecting a region": (_range(switch, "µs"), _range(steps, "instructions")),
    }
    for what, told in costs.items():
        if any(told):
            print(f"{what}: {', '.join(text for text in told if text)}")


def _range(values: Sequence[float], unit: str) -> str:
    """The least and the largest of some values; nothing of none."""
    if not values:
        return ""
    low, high = (f"{value:,.4g}" if unit == "µs" else f"{value:,}" for value in _ends(values))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _print_memory(profile: Profile) -> None:
    """What is said once below the regions."""
    memory, first = profile.memory, profile.regions[0]
    mean = sum(region.accuracy for region in profile.regions) / len(profile.regions)
    clock = f" at {profile.target.clock_hz / 1e6:g} MHz" if profile.target.clock_hz else ""
    library = ""
    if memory.library_stack_bytes is not None:
        library = f", of which the library takes {memory.library_stack_bytes:,} B at most"
    sizes = (profile.model.weights_bytes, memory.region_table_bytes)
    weights, tables = ("unknown" if size is None else f"{size:,} B" for size in sizes)
    parts = f"weights {weights}, region tables {tables}"
    arena = f"arena {memory.arena_bytes:,} B"
    stack = "" if memory.stack_bytes is None else f"{memory.stack_bytes:,} B of stack{library}"
    ram = arena if memory.ram_bytes is None else f"{memory.ram_bytes:,} B ({arena})"
    lines = (
        f"accuracy: mean {mean:.2%} over {first.samples:,} samples; {first.device_samples} of them "
        f"through the link{clock}",
        "flash: "
        + (parts if memory.flash_bytes is None else f"{memory.flash_bytes:,} B ({parts})"),
        "RAM: " + " and ".join(text for text in (ram, stack) if text),
        *([] if memory.unknown is None else [f"unknown parts: {memory.unknown}"]),
    )
    print("\n".join(lines))
    if profile.throughput is not None:
        print(_speed(profile.throughput))
    if any(region.cycles_estimate for region in profile.regions):
        print(f"* {TIMING_NOTE}")


def _speed(rate: Throughput) -> str:
    """How fast samples went through the link."""
    boards = "one board" if rate.boards == 1 else f"{rate.boards} boards"
    return (
        f"throughput: {rate.samples_per_second:,.1f} samples per second by {boards}, "
        f"{rate.samples:,} in {rate.seconds:,.1f} s"
    )


def print_regressions(
    worse: Sequence[Worse], allowed: float, missing: Sequence[int], remarks: Sequence[str]
) -> None:
    """What got worse by more than the share `allowed`, and regions that are no longer there.

    `remarks` say what makes the two profiles hard to compare.
    """
    for text in remarks:
        print(text)
    if missing:
        print(f"not measured this time: {', '.join(map(str, missing))} % DP")
    if not worse:
        print(f"nothing is worse by more than {allowed:.2%}")
        return
    table = Table(title=f"worse by more than {allowed:.2%}", box=box.SIMPLE_HEAD)
    for heading in ("where", "what", "old", "new", "change"):
        table.add_column(heading, justify="left" if heading in ("where", "what") else "right")
    for entry in worse:
        accuracy = entry.what.endswith("accuracy")
        old, new = (
            f"{value:.2%}" if accuracy else f"{value:,.6g}" for value in (entry.old, entry.new)
        )
        change = f"{-entry.change:+.2%}" if accuracy else f"{entry.change:+.2%}"
        table.add_row(entry.where, entry.what.replace("_", " "), old, new, change)
    console().print(table)


def print_verification(verification: Verification) -> None:
    """One row for each implementation, and every mismatch with its place."""
    table = Table(title="compared with the integer interpreter")
    for heading in ("against", "regions", "samples per region", "mismatches"):
        table.add_column(heading, justify="left" if heading == "against" else "right")
    for against in dict.fromkeys(check.against for check in verification.checks):
        checks = [check for check in verification.checks if check.against == against]
        wrong = sum(check.mismatches for check in checks)
        table.add_row(against, str(len(checks)), str(checks[0].samples), str(wrong))
    console().print(table)
    for check in verification.checks:
        if check.first is not None:
            first = check.first
            print(
                f"{check.against} at {check.dp} % DP: sample {first.sample}, layer {first.layer}, "
                f"element {first.index}: expected {first.expected}, found {first.found}"
            )
    if not any(check.against == "litert" for check in verification.checks):
        print(f"LiteRT judged the original alone; to export regions to it, too, run: {INSTALL}")
    print("bit-exact" if verification.bit_exact else "NOT bit-exact")


def print_inspection(found: Inspection, dp: int) -> None:
    """The layers of one region, all regions, and the sizes."""
    region = next(region for region in found.regions if region.dp == dp)
    weights = {entry.name: (str(entry.bits), f"{entry.bytes:,}") for entry in found.weights}
    table = Table(title=f"{found.name} at {dp} % DP", box=box.SIMPLE_HEAD)
    for heading in ("layer", "operation", "reads", "output", "scale", "zero"):
        table.add_column(heading)
    for heading in ("MACs", "bits", "weights B"):
        table.add_column(heading, justify="right")
    for layer in region.layers:
        table.add_row(
            layer.name,
            layer.op,
            ", ".join(layer.inputs),
            " x ".join(map(str, layer.output.shape)),
            f"{layer.output.scale:.6g}",
            str(layer.output.zero_point),
            f"{layer.macs:,}" if layer.macs else "",
            *weights.get(layer.name, ("", "")),
        )
    console().print(table)
    _print_arena(found)
    for entry in found.regions:
        print(
            f"{entry.dp:>3} % DP: {entry.macs:,} MACs, {entry.macs_fraction:.1%} of full; "
            f"{entry.arena_peak_bytes:,} B of the arena in use at most"
        )
    print(
        f"input {_real(region.input)}; output {_real(region.output)}\n"
        f"weights {found.weights_bytes:,} B, region tables {found.region_table_bytes:,} B, "
        f"arena {found.arena_bytes:,} B; digest {found.digest[:16]}"
    )


def _print_arena(found: Inspection) -> None:
    """Where the buffers lie, and by which layers they are needed."""
    if not found.arena:
        return
    title = f"arena, {found.arena_bytes:,} B; no placement takes less than "
    table = Table(title=f"{title}{found.arena_bound_bytes:,} B", box=box.SIMPLE_HEAD)
    for heading in ("buffer", "offset", "bytes", "from layer", "to layer", "written over"):
        table.add_column(heading, justify="right" if heading in ("offset", "bytes") else "left")
    names = [layer.name for layer in found.regions[0].layers]
    for buffer in found.arena:
        table.add_row(
            buffer.name + (" (scratch)" if buffer.scratch else ""),
            f"{buffer.offset:,}",
            f"{buffer.bytes:,}",
            names[buffer.first],
            names[buffer.last],
            buffer.over,
        )
    console().print(table)


def _real(value: Value) -> str:
    shape = " x ".join(map(str, value.shape))
    return f"{shape} of scale {value.scale:.6g} and zero point {value.zero_point}"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _p95(region: RegionResult) -> str:
    return _ms(region.latency.p95 if region.latency else None)


def _ms(us: float | None) -> str:
    return "" if us is None else f"{us / 1e3:.3f}"
