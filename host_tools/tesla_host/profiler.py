"""Measure a model on a target: accuracy, cost and memory of every operating region.

Accuracy over all samples comes from the host build; a part of the samples also goes through the
link, where the target counts, and must come back bit for bit the same. The result is made from the
records of `jobs` alone: how often they were interrupted, or on how many boards, does not matter.
"""

import contextlib
import hashlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tesla_embed import __version__
from tesla_embed.data import DataSet
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model, Region, computing_ops, macs_fraction, region_macs
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.requantization import quantize_input
from tesla_embed.ir.store import digest
from tesla_host.batch import run_batch
from tesla_host.elf import read_image
from tesla_host.fleet import Deliver, Fleet, Station
from tesla_host.footprint import library_stack
from tesla_host.jobs import Job, Probe, Record, Sample, Ticks, plan_jobs
from tesla_host.layout import Layout, find_layout
from tesla_host.link.replies import Hello
from tesla_host.measurements import Header, Measurements, fingerprint
from tesla_host.results import (
    Latency,
    LayerCost,
    Memory,
    ModelInfo,
    Profile,
    RegionResult,
    Spread,
    TargetInfo,
    Throughput,
    Tool,
    p95,
)
from tesla_host.targets import find_target, is_connection
from tesla_host.workbench import Observer, Workbench, ignore

Int8 = npt.NDArray[np.int8]


class Crew(Protocol):
    """Boards that do jobs: a `Fleet`, or a cluster; all of one kind, which `hello` describes."""

    @property
    def hello(self) -> Hello:
        """What each of them says."""

    def __len__(self) -> int:
        """How many there are."""

    def run(self, jobs: Sequence[Job], deliver: Deliver) -> None:
        """Have all jobs done, and their records delivered."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Labelled test samples as the network takes them: `x` `[N, *input shape]` int8, `y` `[N]`.

    `fingerprint` is that of the whole test split.
    """

    x: Int8
    y: npt.NDArray[np.int64]
    fingerprint: str


def load_samples(model: Model, data: DataSet, limit: int | None = None) -> Samples:
    """The first `limit` test samples (all by default), quantised for `model`.

    Raises `ConfigError` if they do not have the shape that the model takes.
    """
    type_ = model.regions[0].types[model.graph.input]
    if int(np.prod(data.input_shape)) != type_.size:
        raise ConfigError(
            f"{model.name} takes inputs of shape {type_.shape}, {data.name} has "
            f"{data.input_shape}; use the data set it was trained on"
        )
    outputs = model.regions[0].types[model.graph.output].size
    if data.classes > outputs:
        raise ConfigError(
            f"{model.name} knows {outputs} classes, {data.name} has {data.classes}; use the data "
            "set it was trained on"
        )
    chosen = slice(0, limit)
    integers = quantize_input(type_, data.test.floats(chosen))
    return Samples(integers, data.test.y[chosen], data.test.fingerprint())


def profile_bench(
    bench: Workbench,
    data: DataSet,
    samples: Samples,
    device_samples: int,
    regions: Sequence[Region],
    observer: Observer = ignore,
    *,
    crew: Crew | None = None,
    results: Path | None = None,
    runs: int = 1,
) -> Profile:
    """Profile the given regions; `device_samples` of the samples go through the link, `runs` times.

    `crew` are the boards that share the work, by default the one that `bench` connects to. With
    `results`, every measurement goes to that file at once, and what it holds is not measured again.
    Raises what the link raises, and `ConfigError` for a file of other measurements.
    """
    inputs = [x.tobytes() for x in samples.x[:device_samples]]
    dps = [region.dp for region in regions]
    with contextlib.ExitStack() as stack:
        boards = crew or stack.enter_context(Fleet([Station(bench.target, bench.connect)]))
        hello = boards.hello
        store = None
        if results is not None:
            header = _header(bench, hello, inputs, runs)
            store = stack.enter_context(Measurements(results, header))
        records, throughput = _measure(boards, store, inputs, dps, runs, observer)
    layout = find_layout(bench, hello)
    measured = [_region(bench, hello, region, samples, records, layout) for region in regions]
    probes = [r.stack_bytes for r in records if isinstance(r, Probe) and r.dp in dps]
    return Profile(
        tool=Tool(
            version=__version__,
            compiler=bench.device.compiler if bench.device else "unknown",
            host_compiler=bench.host.compiler,
        ),
        model=_model_info(bench, layout),
        target=_target_info(bench, hello),
        data=data.name,
        memory=_memory(bench, layout, max(probes) or None),
        regions=measured,
        runs=runs,
        throughput=throughput,
    )


def _measure(
    boards: Crew,
    store: Measurements | None,
    inputs: Sequence[bytes],
    dps: Sequence[int],
    runs: int,
    observer: Observer,
) -> tuple[list[Record], Throughput | None]:
    """What `store` holds already and what is left to measure, and how fast that went."""
    records: list[Record] = [] if store is None else store.records
    keep = records.append if store is None else store.append
    jobs = plan_jobs(inputs, dps, runs, len(boards), records)
    left = sum(len(job.indices) for job in jobs)
    total = len(dps) * (len(inputs) + 1)
    sent = 0

    def deliver(record: Record) -> None:
        nonlocal left, sent
        left -= 1
        sent += isinstance(record, Sample)
        keep(record)
        observer(f"{record.dp} % DP", 1 - left / total)

    count, started = len(boards), time.monotonic()
    boards.run(jobs, deliver)
    return records, _throughput(count, sent, time.monotonic() - started)


def _throughput(boards: int, samples: int, seconds: float) -> Throughput | None:
    if samples == 0 or seconds <= 0:
        return None
    return Throughput(
        boards=boards, samples=samples, seconds=seconds, samples_per_second=samples / seconds
    )


def _header(bench: Workbench, hello: Hello, inputs: Sequence[bytes], runs: int) -> Header:
    """What binds a file of measurements to this model, firmware, board and samples."""
    firmware = hello.firmware_version
    if bench.device is not None:
        loaded = hashlib.sha256()
        for segment in read_image(bench.device.elf).segments:
            loaded.update(segment.address.to_bytes(8, "little") + segment.data)
        firmware = loaded.hexdigest()
    return Header(
        model=hello.model,
        digest=hello.digest.hex(),
        target="a board" if is_connection(bench.target) else bench.target,
        firmware=firmware,
        board=hello.board,
        cpu=hello.cpu,
        counters=[(counter.name, counter.hz) for counter in hello.counters],
        inputs=fingerprint(inputs),
        samples=len(inputs),
        runs=runs,
    )


def _region(
    bench: Workbench,
    hello: Hello,
    region: Region,
    samples: Samples,
    records: Sequence[Record],
    layout: Layout,
) -> RegionResult:
    """One region's result, from its records alone: in whatever order and by whom they were made."""
    model = bench.model
    outputs = run_batch(bench.host.elf, model, region, samples.x)
    (probe,) = (r for r in records if isinstance(r, Probe) and r.dp == region.dp)
    runs = {r.index: r for r in records if isinstance(r, Sample) and r.dp == region.dp}
    sent = [runs[index] for index in range(len(runs))]
    truth = interpret(model, region, samples.x[: len(sent)])
    same = sum(
        got.output == expected.tobytes() == host.tobytes()
        for got, expected, host in zip(sent, truth, outputs, strict=False)
    )
    answers = np.frombuffer(b"".join(r.output for r in sent), np.int8).reshape(len(sent), -1)
    ticks = [entry for record in sent for entry in record.ticks]
    costs = region_macs(model.graph, region)
    reference = _float_accuracy(model, region, samples)
    latency = _latency(hello, ticks)
    return RegionResult(
        dp=region.dp,
        macs=sum(costs),
        macs_fraction=macs_fraction(model.graph, region),
        samples=len(samples.y),
        accuracy=float((_classes(outputs) == samples.y).mean()),
        accuracy_float=reference[0],
        accuracy_float_samples=reference[1],
        device_samples=len(sent),
        agreement=same / len(sent),
        bit_exact=same == len(sent),
        instructions=_spread(ticks, "instructions"),
        cycles_estimate=_median(ticks, "cycles"),
        latency_us=latency.median if latency else None,
        switch_instructions=probe.switch.get("instructions"),
        layers=_layers(model, costs, probe.layers, hello),
        device_accuracy=float((_classes(answers) == samples.y[: len(sent)]).mean()),
        latency=latency,
        switch_us=hello.clock_us(probe.switch),
        first_instructions=probe.first.get("instructions"),
        first_us=hello.clock_us(probe.first),
        arena_peak_bytes=layout.peaks.get(region.dp),
    )


def _classes(outputs: Int8) -> npt.NDArray[np.int64]:
    classes: npt.NDArray[np.int64] = outputs.reshape(len(outputs), -1).argmax(axis=1)
    return classes


def _layers(
    model: Model, costs: Sequence[int], measured: Sequence[Ticks], hello: Hello
) -> list[LayerCost]:
    """Cost of every layer for the last sample that went through the link."""
    steps = computing_ops(model.graph)
    return [
        LayerCost(
            name=model.graph.ops[step].name,
            op=type(model.graph.ops[step]).__name__,
            macs=costs[step],
            instructions=ticks.get("instructions"),
            cycles_estimate=ticks.get("cycles"),
            latency_us=hello.clock_us(ticks),
        )
        for step, ticks in zip(steps, measured, strict=True)
    ]


def _spread(ticks: Sequence[Ticks], counter: str) -> Spread | None:
    values = sorted(entry[counter] for entry in ticks if counter in entry)
    if not values:
        return None
    return Spread(
        min=values[0],
        median=round(statistics.median(values)),
        max=values[-1],
        p95=p95(values),
    )


def _median(ticks: Sequence[Ticks], counter: str) -> int | None:
    spread = _spread(ticks, counter)
    return None if spread is None else spread.median


def _latency(hello: Hello, ticks: Sequence[Ticks]) -> Latency | None:
    """By the target's clock."""
    clock = hello.clock
    spread = None if clock is None else _spread(ticks, clock.name)
    if clock is None or spread is None or spread.p95 is None:
        return None
    low, middle, high, most = (
        1e6 * value / clock.hz for value in (spread.min, spread.median, spread.p95, spread.max)
    )
    return Latency(min=low, median=middle, p95=high, max=most)


def _float_accuracy(model: Model, region: Region, samples: Samples) -> tuple[float | None, int]:
    """What the float network reached on the same samples, and how many they are."""
    for entry in model.provenance.float_answers:
        if entry.dp == region.dp and model.provenance.test_fingerprint == samples.fingerprint:
            return entry.accuracy(len(samples.y)), min(entry.samples, len(samples.y))
    return None, 0


def _target_info(bench: Workbench, hello: Hello) -> TargetInfo:
    status = "connected" if is_connection(bench.target) else find_target(bench.target).status
    return TargetInfo(name=bench.target, cpu=hello.cpu, clock_hz=hello.clock_hz, status=status)


def _model_info(bench: Workbench, layout: Layout) -> ModelInfo:
    model = bench.model
    ends = [model.regions[-1].types[i].shape for i in (model.graph.input, model.graph.output)]
    return ModelInfo(
        name=model.name,
        digest=digest(model),
        weights_bytes=layout.weights_bytes,
        input_shape=list(ends[0]),
        output_shape=list(ends[1]),
        recipe=model.provenance.recipe,
        algorithm=model.provenance.algorithm,
        profile=model.provenance.profile,
        seed=model.provenance.seed,
        data=model.provenance.data,
    )


def _memory(bench: Workbench, layout: Layout, stack_bytes: int | None) -> Memory:
    device = None if bench.is_host else bench.device  # a process's ELF says nothing of flash
    return Memory(
        flash_bytes=device.flash_bytes if device else None,
        ram_bytes=device.ram_bytes if device else None,
        arena_bytes=layout.arena_bytes,
        stack_bytes=stack_bytes,
        ram_high_water_bytes=device.ram_bytes + stack_bytes if device and stack_bytes else None,
        region_table_bytes=layout.region_table_bytes,
        buffers=layout.buffers,
        arena_bound_bytes=layout.bound_bytes,
        steps=[op.name for op in bench.model.graph.ops],
        unknown=layout.unknown,
        library_stack_bytes=library_stack(device, bench.project) if device else None,
    )
