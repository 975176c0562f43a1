"""Measure a model on a target: accuracy, cost and memory of every operating region.

Accuracy over all samples comes from the host build; a part of the samples also goes through the
link, where the target counts, and must come back bit for bit the same.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_codegen.arena_map import region_peak
from tesla_embed import __version__
from tesla_embed.data import DataSet
from tesla_embed.errors import ConfigError, ToolchainError
from tesla_embed.ir.graph import Model, Region, computing_ops, macs_fraction, region_macs
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.requantization import quantize_input
from tesla_embed.ir.store import digest
from tesla_host.batch import run_batch
from tesla_host.inspection import arena_buffers
from tesla_host.link.client import LinkClient
from tesla_host.link.replies import Hello
from tesla_host.results import (
    LayerCost,
    Memory,
    ModelInfo,
    Profile,
    RegionResult,
    Spread,
    TargetInfo,
    Tool,
)
from tesla_host.stack_bound import stack_bound
from tesla_host.targets import find_target, is_connection
from tesla_host.workbench import Observer, Workbench, ignore

Int8 = npt.NDArray[np.int8]
Ticks = dict[str, int]


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
) -> Profile:
    """Profile the given regions; `device_samples` of the samples go through the link."""
    results: list[RegionResult] = []
    with bench.connect() as client:
        for number, region in enumerate(regions):
            observer(f"{region.dp} % DP", number / len(regions))
            results.append(_region(bench, client, region, samples, device_samples))
        stack, hello = client.stack(), client.hello()
    return Profile(
        tool=Tool(
            version=__version__,
            compiler=bench.device.compiler if bench.device else "unknown",
            host_compiler=bench.host.compiler,
        ),
        model=_model_info(bench),
        target=_target_info(bench, hello),
        data=data.name,
        memory=_memory(bench, stack.used or None),
        regions=results,
    )


def _region(
    bench: Workbench, client: LinkClient, region: Region, samples: Samples, device_samples: int
) -> RegionResult:
    model = bench.model
    outputs = run_batch(bench.host.elf, model, region, samples.x)
    sent = samples.x[:device_samples]
    switch = client.set_dp(region.dp)
    ticks: list[Ticks] = []
    same = 0
    truth = interpret(model, region, sent)
    for x, expected, host in zip(sent, truth, outputs, strict=False):
        client.load_input(x.tobytes())
        ticks += client.run()
        got = client.read_output()
        same += got == expected.tobytes() == host.tobytes()
    costs = region_macs(model.graph, region)
    cycles = _median(ticks, "cycles")
    reference = _float_accuracy(model, region, samples)
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
        cycles_estimate=cycles,
        latency_us=_latency_us(client.hello(), ticks),
        switch_instructions=switch.get("instructions"),
        layers=_layers(client, model, costs),
        arena_peak_bytes=region_peak(model, region, bench.project.plan),
    )


def _classes(outputs: Int8) -> npt.NDArray[np.int64]:
    classes: npt.NDArray[np.int64] = outputs.reshape(len(outputs), -1).argmax(axis=1)
    return classes


def _layers(client: LinkClient, model: Model, costs: Sequence[int]) -> list[LayerCost]:
    """Cost of every layer for the sample that was loaded last."""
    steps = computing_ops(model.graph)
    return [
        LayerCost(
            name=model.graph.ops[step].name,
            op=type(model.graph.ops[step]).__name__,
            macs=costs[step],
            instructions=ticks.get("instructions"),
            cycles_estimate=ticks.get("cycles"),
        )
        for step, ticks in zip(steps, client.layer_ticks(), strict=True)
    ]


def _spread(ticks: Sequence[Ticks], counter: str) -> Spread | None:
    values = [entry[counter] for entry in ticks if counter in entry]
    if not values:
        return None
    return Spread(min=min(values), median=round(statistics.median(values)), max=max(values))


def _median(ticks: Sequence[Ticks], counter: str) -> int | None:
    spread = _spread(ticks, counter)
    return None if spread is None else spread.median


def _latency_us(hello: Hello, ticks: Sequence[Ticks]) -> float | None:
    """Median microseconds by the first counter of the target that is a clock."""
    for counter in hello.counters:
        if counter.hz:
            median = _median(ticks, counter.name)
            return None if median is None else 1e6 * median / counter.hz
    return None


def _float_accuracy(model: Model, region: Region, samples: Samples) -> tuple[float | None, int]:
    """What the float network reached on the same samples, and how many they are."""
    for entry in model.provenance.float_answers:
        if entry.dp == region.dp and model.provenance.test_fingerprint == samples.fingerprint:
            return entry.accuracy(len(samples.y)), min(entry.samples, len(samples.y))
    return None, 0


def _target_info(bench: Workbench, hello: Hello) -> TargetInfo:
    status = "connected" if is_connection(bench.target) else find_target(bench.target).status
    return TargetInfo(name=bench.target, cpu=hello.cpu, clock_hz=hello.clock_hz, status=status)


def _model_info(bench: Workbench) -> ModelInfo:
    model = bench.model
    ends = [model.regions[-1].types[i].shape for i in (model.graph.input, model.graph.output)]
    return ModelInfo(
        name=model.name,
        digest=digest(model),
        weights_bytes=bench.project.weights_bytes,
        input_shape=list(ends[0]),
        output_shape=list(ends[1]),
        recipe=model.provenance.recipe,
        algorithm=model.provenance.algorithm,
        profile=model.provenance.profile,
        seed=model.provenance.seed,
        data=model.provenance.data,
    )


def _memory(bench: Workbench, stack_bytes: int | None) -> Memory:
    device = None if bench.is_host else bench.device  # a process's ELF says nothing of flash
    return Memory(
        flash_bytes=device.flash_bytes if device else None,
        ram_bytes=device.ram_bytes if device else None,
        arena_bytes=bench.project.arena_bytes,
        stack_bytes=stack_bytes,
        region_table_bytes=bench.project.region_table_bytes,
        buffers=arena_buffers(bench.project),
        arena_bound_bytes=bench.project.plan.bound_bytes,
        steps=[op.name for op in bench.model.graph.ops],
        library_stack_bytes=_library_stack(bench),
    )


def _library_stack(bench: Workbench) -> int | None:
    """The most stack that a run takes; `None` where the machine code cannot be read."""
    if bench.device is None or not bench.device.frames:
        return None
    try:
        found = stack_bound(bench.device.elf, bench.device.frames, f"{bench.project.prefix}_run")
    except ToolchainError:
        return None
    return found.bytes
