"""Measure kernels and networks on an emulated target: instructions, estimated cycles, memory.

In: a case or a network, and how to build it. Out: a row for every region. Outputs must be those of
the integer interpreter, bit for bit; `WrongOutput` where they are not. Refuses a target that counts
no instructions with `ConfigError`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import Project
from tesla_codegen.project import generate
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model, Region, computing_ops, region_macs
from tesla_embed.ir.interpret import interpret, interpret_layers
from tesla_host.bench.cases import MEASURED, Case, case_model
from tesla_host.bench.estimates import Estimated, estimated
from tesla_host.bench.networks import Benchmark
from tesla_host.bench.peers import Peer, find_network_peer
from tesla_host.bench.rows import Counts, Row, Setting
from tesla_host.bench.traced import can_trace, traced_layer, traced_run
from tesla_host.build import BuildResult, build_firmware, choose_toolchain
from tesla_host.divergence import wrong_output
from tesla_host.footprint import footprint
from tesla_host.link.client import LinkClient
from tesla_host.targets import Target, find_target, open_link

_LARGE_REPLIES = ("-DTESLA_LINK_MAX_BODY=33000u",)
"""So that an image comes back after one run instead of one for each piece of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How to build, and where to run. `isa` replaces the target's own kernels; with `portable`, the
    portable ones are measured beside them."""

    target: str
    toolchain: str | None = None
    isa: Isa | None = None
    optimize: Optimize = Optimize.BALANCED
    portable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """Something made ready to run."""

    model: Model
    project: Project
    build: BuildResult
    row: Target
    setting: Setting
    folder: Path


def check_choice(choice: Choice) -> None:
    """Raise `ConfigError` for a target that nothing can be counted on, or that has no such tool."""
    row = find_target(choice.target)
    choose_toolchain(row, choice.toolchain)
    if row.core is None:
        raise ConfigError(f"{choice.target} counts no instructions; choose an emulated target")


def measure_case(
    case: Case,
    choice: Choice,
    folder: Path,
    find_peer: Callable[[Case, int], Peer | None],
    *,
    dense: int | None = None,
) -> list[Row]:
    """Build a case and run it once per region; `find_peer` is asked for each DP percentage.

    With `dense`, a DP percentage, the network of these widths is measured, without channels beyond.
    """
    model = case_model(case) if dense is None else case_model(case, (dense,), dense=True)
    place = next(i for i, op in enumerate(model.graph.ops) if op.name == MEASURED)
    built = _build(model, choice, folder, choice.isa, _LARGE_REPLIES)
    counts, estimates = _count_layer(built, place, case.name)
    portable: Mapping[int, Counts] = {}
    if choice.portable and built.setting.isa != Isa.PORTABLE.value:
        plain = _build(model, choice, folder / "portable", Isa.PORTABLE, _LARGE_REPLIES)
        portable, _ = _count_layer(plain, place, case.name)
    flash, ram = _layer_memory(built, place)
    rows = []
    for region in model.regions:
        dp = region.dp if dense is None else dense
        rows.append(
            Row(
                name=case.name,
                shape=case.shape,
                setting=built.setting,
                dp=dp,
                macs=region_macs(model.graph, region)[place],
                counts=counts[region.dp],
                flash_bytes=flash,
                ram_bytes=ram,
                peer=find_peer(case, dp),
                portable=portable.get(region.dp),
                estimate=estimates.get(region.dp),
            )
        )
    return rows


def measure_network(bench: Benchmark, model: Model, choice: Choice, folder: Path) -> list[Row]:
    """Build a network and run it once per region."""
    built = _build(model, choice, folder, choice.isa)
    counts, estimates = _count_runs(built)
    memory = footprint(built.build, built.project)
    portable: Mapping[int, Counts] = {}
    if choice.portable and built.setting.isa != Isa.PORTABLE.value:
        portable, _ = _count_runs(_build(model, choice, folder / "portable", Isa.PORTABLE))
    return [
        Row(
            name=bench.name,
            shape=bench.shape,
            setting=built.setting,
            dp=region.dp,
            macs=sum(region_macs(model.graph, region)),
            counts=counts[region.dp],
            flash_bytes=memory.flash,
            ram_bytes=memory.ram,
            peer=find_network_peer(bench.name, built.row.cpu, region.dp),
            portable=portable.get(region.dp),
            memory=memory,
            estimate=estimates.get(region.dp),
        )
        for region in model.regions
    ]


def _build(
    model: Model, choice: Choice, folder: Path, isa: Isa | None, flags: tuple[str, ...] = ()
) -> _Built:
    check_choice(choice)
    row = find_target(choice.target)
    isa = isa or row.isa
    project = generate(model, folder / "project", isa=isa, optimize=choice.optimize)
    build = build_firmware(
        folder / "project", row, folder,
        toolchain=choice.toolchain, optimize=choice.optimize, extra_flags=flags,
    )  # fmt: skip
    setting = Setting(
        target=choice.target,
        toolchain=choose_toolchain(row, choice.toolchain),
        compiler=build.compiler,
        isa=isa.value,
        optimize=choice.optimize.value,
    )
    return _Built(
        model=model, project=project, build=build, row=row, setting=setting, folder=folder
    )


def _count_layer(
    built: _Built, place: int, name: str
) -> tuple[dict[int, Counts], dict[int, Estimated]]:
    """By DP percentage, what one operation costs and was estimated to cost.

    Its own output is compared.
    """
    model = built.model
    layer = computing_ops(model.graph).index(place)
    found, layers = {}, {}
    with open_link(built.setting.target, built.build.elf) as client:
        for region in model.regions:
            inputs = _load(client, model, region)
            ticks = client.layer_ticks()
            found[region.dp] = _counts(ticks[layer])
            layers[region.dp] = [entry["instructions"] for entry in ticks]
            wanted = interpret_layers(model, region, inputs)[place].tobytes()
            got = client.layer_dump(layer)
            if got != wanted:
                raise wrong_output(name, model, region, inputs, got, client=client, place=place)

    def trace(region: Region, counted: int) -> int | None:
        prepare = partial(_load, model=model, region=region)
        return traced_layer(built.row, built.build.elf, prepare, layer, counted)

    return _with_cycles(built, found, trace), _estimates(built, layers, layer)


def _count_runs(built: _Built) -> tuple[dict[int, Counts], dict[int, Estimated]]:
    """What whole runs cost, by DP percentage, and what they were estimated to cost."""
    model = built.model
    found, layers = {}, {}
    with open_link(built.setting.target, built.build.elf) as client:
        for region in model.regions:
            inputs = _load(client, model, region)
            (ticks,) = client.run()
            found[region.dp] = _counts(ticks)
            layers[region.dp] = [entry["instructions"] for entry in client.layer_ticks()]
            got = client.read_output()
            if got != interpret(model, region, inputs).tobytes():
                raise wrong_output(model.name, model, region, inputs, got, client=client)

    def trace(region: Region, counted: int) -> int | None:
        prepare = partial(_load, model=model, region=region)
        return traced_run(built.row, built.build.elf, prepare, counted)

    return _with_cycles(built, found, trace), _estimates(built, layers)


def _estimates(
    built: _Built, layers: Mapping[int, Sequence[int]], only: int | None = None
) -> dict[int, Estimated]:
    """Estimates beside the instructions of each layer; of portable kernels, too."""
    isa, optimize = Isa(built.setting.isa), Optimize(built.setting.optimize)
    toolchain = built.setting.toolchain
    return estimated(
        built.model, built.row, toolchain, layers, isa=isa, optimize=optimize, only=only
    )


def _with_cycles(
    built: _Built, found: Mapping[int, Counts], trace: Callable[[Region, int], int | None]
) -> dict[int, Counts]:
    """`found`, with cycles where a trace gives them; not of portable C, whose traces are huge."""
    if built.setting.isa == Isa.PORTABLE.value or not can_trace(built.row):
        return dict(found)
    return {
        region.dp: replace(
            found[region.dp], cycles_estimate=trace(region, found[region.dp].instructions)
        )
        for region in built.model.regions
    }


def _load(client: LinkClient, model: Model, region: Region) -> npt.NDArray[np.int8]:
    """Select a region and load one seeded input, which is returned `[1, *input shape]`."""
    client.set_dp(region.dp)
    rng = np.random.default_rng(region.dp)
    shape = (1, *region.types[model.graph.input].shape)
    inputs: npt.NDArray[np.int8] = rng.integers(-128, 128, shape).astype(np.int8)
    client.load_input(inputs.tobytes())
    return inputs


def _counts(ticks: Mapping[str, int]) -> Counts:
    return Counts(instructions=ticks["instructions"], cycles_estimate=ticks.get("cycles"))


def _layer_memory(built: _Built, place: int) -> tuple[int, int]:
    """Flash and RAM of one operation, in bytes."""
    model, project = built.model, built.project
    op = model.graph.ops[place]
    flash = project.layer_weights_bytes(op.name) + project.layer_tables_bytes(op.name)
    ends = sum(model.graph.tensors[tensor].type.bytes for tensor in (*op.inputs, op.output))
    return flash, project.layer_scratch_bytes(op.name) + ends
