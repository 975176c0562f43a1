"""Measure everything that estimates need on one CPU with one toolchain: what `bench fit` runs.

In: an emulated target and a toolchain. Out: `Coefficients`. Networks of `designs` are built with
the CPU's own kernels and with the portable ones, and run in every region; for further targets with
the same CPU a few are only built, since instructions are the same there.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tesla_codegen.cost.counts import Counts
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import Project
from tesla_codegen.project import generate
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Window
from tesla_host.build import BuildResult, build_firmware, choose_toolchain
from tesla_host.catalogue import TARGETS
from tesla_host.estimate.coefficients import BoardCost, Coefficients, KernelCost
from tesla_host.estimate.designs import NETWORKS, design, further_design
from tesla_host.estimate.fit import Fit, fit, nonnegative, predict
from tesla_host.estimate.footprint import (
    exact_flash,
    flash_counts,
    pointed_by_layers,
    ram_counts,
)
from tesla_host.estimate.measure import Measured, Observation, measure_model
from tesla_host.estimate.sizes import Code, read_code
from tesla_host.estimate.sketch import Sketch
from tesla_host.pointers import pointed_functions
from tesla_host.stack_bound import stack_bound
from tesla_host.targets import Target
from tesla_host.workbench import Observer, ignore

PORTABLE_SHARE = 0.5
"""Networks that are built with portable kernels, too, in shares of all."""
FURTHER_SHARE = 0.5
"""Further networks, which are built for speed, in shares of the others."""


@dataclass(slots=True)
class _Bytes:
    """Of several builds for one target: what is beside the exact bytes, by counts."""

    flash: list[tuple[Counts, int]] = field(default_factory=list)
    ram: list[tuple[Counts, int]] = field(default_factory=list)

    def note(self, project: Project, build: BuildResult, code: dict[str, Code]) -> None:
        rest = build.flash_bytes - exact_flash(project, code)
        self.flash.append((flash_counts(project), rest))
        self.ram.append((ram_counts(project), build.ram_bytes))

    def cost(self) -> BoardCost:
        return BoardCost(flash=_linear(self.flash), ram=_linear(self.ram))


@dataclass(slots=True)
class Gathered:
    """What a campaign has gathered so far."""

    observations: dict[str, list[Observation]] = field(default_factory=dict)
    code: dict[str, Code] = field(default_factory=dict)
    stacks: dict[str, int] = field(default_factory=dict)
    run_stack: int = 0
    bytes: _Bytes = field(default_factory=_Bytes)
    compiler: str = ""


def measure_coefficients(
    target: Target,
    toolchain: str | None = None,
    share: float = 1.0,
    observer: Observer = ignore,
    optimize: Optimize = Optimize.BALANCED,
) -> Coefficients:
    """Measure and fit; `share` of the usual number of networks, compiled for `optimize`.

    Raises what building and the link raise, and `ConfigError` for a target that counts no
    instructions.
    """
    kind = choose_toolchain(target, toolchain)
    found = gather(target, kind, share, observer, optimize)
    others = [row for row in TARGETS if row.core == target.core and kind in row.toolchains]
    return conclude(
        target, kind, found, [row for row in others if row.name != target.name], optimize
    )


def conclude(
    target: Target,
    toolchain: str,
    found: Gathered,
    others: list[Target],
    optimize: Optimize = Optimize.BALANCED,
) -> Coefficients:
    """Coefficients from what was gathered; `others` are further targets of the same CPU."""
    _note_small_networks(target, toolchain, found, optimize)
    own = found.bytes.cost()
    return Coefficients(
        cpu=target.cpu,
        toolchain=toolchain,
        compiler=found.compiler,
        kernels={
            kernel: _cost(seen, found.stacks.get(kernel))
            for kernel, seen in sorted(found.observations.items())
        },
        code=dict(sorted(found.code.items())),
        boards={target.name: own}
        | {row.name: _other_board(own, target, row, toolchain, optimize) for row in others},
        run_stack_bytes=found.run_stack,
    )


def gather(
    target: Target,
    toolchain: str,
    share: float,
    observer: Observer,
    optimize: Optimize = Optimize.BALANCED,
) -> Gathered:
    """Build and run the networks: of every kind of layer, further ones, and with portable kernels.

    Where kernels are not saved flash, those that are chosen for speed are measured, too.
    """
    found = Gathered()
    chosen = Optimize.SIZE if optimize is Optimize.SIZE else Optimize.SPEED
    builds = [
        (target.isa, optimize, design, share),
        (target.isa, chosen, further_design, share * FURTHER_SHARE),
    ]
    if target.isa is not Isa.PORTABLE:
        builds.append((Isa.PORTABLE, optimize, design, share * PORTABLE_SHARE))
    for isa, kernels, make, portion in builds:
        count = max(1, round(NETWORKS * portion))
        for seed in range(count):
            observer(f"{isa} kernels, {kernels}", seed / count)
            with tempfile.TemporaryDirectory(prefix="tesla-embed-") as name:
                folder = Path(name)
                measured = measure_model(
                    make(seed),
                    target,
                    toolchain,
                    folder,
                    isa=isa,
                    optimize=kernels,
                    compiled=optimize,
                )
                _note(measured, folder, found)
    return found


def _note(measured: Measured, folder: Path, found: Gathered) -> None:
    for observation in measured.observations:
        found.observations.setdefault(observation.kernel, []).append(observation)
    project, build = measured.project, measured.build
    found.compiler = build.compiler
    found.code |= _kernel_code(folder, project)
    found.bytes.note(project, build, found.code)
    _note_stacks(folder, project, build, found)


def _kernel_code(folder: Path, project: Project) -> dict[str, Code]:
    return read_code(_objects(folder, set(project.kernels)))


def _objects(folder: Path, stems: set[str]) -> list[Path]:
    objects = (folder / "objects").glob("*.o")
    return [path for path in objects if path.stem.rsplit("-", 1)[0] in stems]


def _note_stacks(folder: Path, project: Project, build: BuildResult, found: Gathered) -> None:
    """Of each kernel, with the deepest function that it may call through a pointer."""
    filters = pointed_by_layers(project)
    for kernel in {step.calls[0].split("(")[0] for step in project.steps}:
        pointed = filters | pointed_functions(_objects(folder, {kernel}))
        bound = stack_bound(build.elf, build.frames, kernel, pointed)
        found.stacks[kernel] = max(found.stacks.get(kernel, 0), bound.bytes)
    found.run_stack = max(found.run_stack, _run_frame(project, build))


def _run_frame(project: Project, build: BuildResult) -> int:
    """What the function takes that calls the kernels."""
    run = stack_bound(build.elf, build.frames, f"{project.prefix}_run")
    return run.bytes - stack_bound(build.elf, build.frames, run.path[1]).bytes


def _note_small_networks(
    target: Target, toolchain: str, found: Gathered, optimize: Optimize
) -> None:
    """Flash and RAM of networks that have little but a firmware, a few layers and many regions."""
    for sketch, dps in _small_networks():
        with tempfile.TemporaryDirectory(prefix="tesla-embed-") as name:
            project, build = _built(sketch.model(dps), target, toolchain, Path(name), optimize)
            found.code |= _kernel_code(Path(name), project)
            for _ in range(_WEIGHT):
                found.bytes.note(project, build, found.code)


def _built(
    model: Model, target: Target, toolchain: str, folder: Path, optimize: Optimize
) -> tuple[Project, BuildResult]:
    project = generate(model, folder / "project", isa=target.isa, optimize=optimize)
    return project, build_firmware(
        folder / "project", target, folder, toolchain=toolchain, optimize=optimize
    )


def _small_networks() -> Iterator[tuple[Sketch, tuple[int, ...]]]:
    for layers, dps in ((1, (100,)), (4, tuple(range(10, 101, 10)))):
        sketch = Sketch(np.random.default_rng(0), (12,))
        for _ in range(layers):
            sketch.dense(8, scalable=layers > 1)
        yield sketch, dps
    sketch = Sketch(np.random.default_rng(0), (8, 8, 3))
    sketch.conv(8, Window(height=3, width=3))
    sketch.depthwise(Window(height=3, width=3))
    sketch.conv(6, Window(height=1, width=1))
    sketch.mean()
    sketch.dense(4, scalable=False)
    yield sketch, (50, 100)


def _other_board(
    own: BoardCost, target: Target, other: Target, toolchain: str, optimize: Optimize
) -> BoardCost:
    """Flash and RAM of another target of the same CPU: a small network tells the difference."""
    sketch = Sketch(np.random.default_rng(0), (4,))
    sketch.dense(2, scalable=False)
    built = []
    for row in (target, other):
        with tempfile.TemporaryDirectory(prefix="tesla-embed-") as name:
            model = sketch.model((100,))
            built.append(_built(model, row, toolchain, Path(name), optimize)[1])
    flash = built[1].flash_bytes - built[0].flash_bytes
    ram = built[1].ram_bytes - built[0].ram_bytes
    return BoardCost(
        flash={**own.flash, "firmware": round(own.flash["firmware"] + flash, 4)},
        ram={**own.ram, "firmware": round(own.ram["firmware"] + ram, 4)},
    )


def _cost(observations: list[Observation], stack: int | None) -> KernelCost:
    found = fit(observations)
    low, high = _range(observations, found)
    return KernelCost(
        coefficients=found.coefficients,
        observations=found.observations,
        worst=round(found.worst, 6),
        median=round(found.median, 6),
        exact=found.exact,
        low=low,
        high=high,
        stack_bytes=stack,
    )


_WEIGHT = 3
"""How often a small network counts, whose sizes nothing else blurs."""
_STEADY = 0.005
"""Instructions that differ by less from input to input count as the same."""


def _range(observations: list[Observation], found: Fit) -> tuple[float, float]:
    """Least and most of what was measured, in shares of the prediction, if it depends on data."""
    if found.spread < _STEADY:
        return 1.0, 1.0
    shares = [
        count / predict(found.coefficients, o.counts)
        for o in observations
        for count in o.instructions
    ]
    return round(min(*shares, 1.0), 4), round(max(*shares, 1.0), 4)


def _linear(rows: list[tuple[Counts, int]]) -> dict[str, float]:
    """Coefficients of bytes."""
    names = sorted({name for counts, _ in rows for name in counts})
    matrix = np.array([[counts.get(name, 0) for name in names] for counts, _ in rows], float)
    found = nonnegative(matrix, np.array([float(bytes_) for _, bytes_ in rows]))
    return {name: round(float(v), 4) for name, v in zip(names, found, strict=True) if v}
