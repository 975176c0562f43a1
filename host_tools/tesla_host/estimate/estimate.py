"""What a model will cost on a target: instructions of each layer in each region, flash and RAM.

In: a verified integer model and a target. Out: an `Estimate`, made without a compiler, whose field
names are a promise to users' scripts: add, never rename. Weights, tables and arena are exact; the
rest follows from coefficients that were measured once (`coefficients`). A kernel that nobody
measured, or that has no cost model, leaves its layers, and every sum with them, `None`.
"""

from collections.abc import Sequence

import msgspec

from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.models import MODELS, counts_of
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize, Variant
from tesla_codegen.lower import Project, lower
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Op
from tesla_embed.ir.store import digest
from tesla_host.estimate.coefficients import Coefficients, load_coefficients
from tesla_host.estimate.fit import predict
from tesla_host.estimate.footprint import exact_flash, flash_counts, needed_functions, ram_counts
from tesla_host.estimate.sizes import code_bytes
from tesla_host.targets import Target

SCHEMA = "tesla-embed/estimate/1"


class LayerEstimate(msgspec.Struct, kw_only=True):
    """One layer in one region. Where instructions depend on the data they lie in `low` to `high`;
    else the three are the same."""

    name: str
    kernel: str
    instructions: int | None
    low: int | None
    high: int | None


class RegionEstimate(msgspec.Struct, kw_only=True):
    """One operating region; `instructions` of all layers together."""

    dp: int
    instructions: int | None
    low: int | None
    high: int | None
    layers: list[LayerEstimate]


class LayerFlash(msgspec.Struct, kw_only=True):
    """Bytes of packed weights and of the tables of all regions that a layer takes."""

    name: str
    weights_bytes: int
    tables_bytes: int


class Estimate(msgspec.Struct, kw_only=True):
    """The whole. Flash and RAM are those of the firmware that `build` makes, RAM without its stack;
    `stack_bytes` is what a run takes of the stack at most. `compiler` is the one measured."""

    schema: str = SCHEMA
    model: str
    digest: str
    target: str
    cpu: str
    isa: str
    toolchain: str
    compiler: str
    flash_bytes: int | None
    weights_bytes: int
    region_table_bytes: int
    kernels_bytes: int
    ram_bytes: int | None
    arena_bytes: int
    stack_bytes: int | None
    regions: list[RegionEstimate]
    flash: list[LayerFlash]
    unmeasured: list[str]


def estimate_model(
    model: Model,
    target: Target,
    toolchain: str | None = None,
    *,
    isa: Isa | None = None,
    optimize: Optimize = Optimize.BALANCED,
) -> Estimate:
    """Predict what `model` costs. Raises `ConfigError` where nothing was measured on this CPU by
    this toolchain, `CodegenError` if no C can be made of the model."""
    known = load_coefficients(target, toolchain, optimize)
    isa = isa or target.isa
    project = lower(model, isa=isa, optimize=optimize)
    variants = choose(model, isa, optimize)
    steps = [(i, variant) for i, variant in enumerate(variants) if variant is not None]
    regions = _regions(model, steps, known)
    board = known.boards.get(target.name)
    flash = ram = None
    if board is not None:
        exact = exact_flash(project, known.code)
        flash = exact + round(predict(board.flash, flash_counts(project)))
        ram = round(predict(board.ram, ram_counts(project)))
    kernels = {variant.kernel for _, variant in steps}
    unmeasured = sorted(kernels - (known.kernels.keys() & MODELS.keys()))
    return Estimate(
        model=model.name,
        digest=digest(model),
        target=target.name,
        cpu=target.cpu,
        isa=isa.value,
        toolchain=known.toolchain,
        compiler=known.compiler,
        flash_bytes=None if unmeasured else flash,
        weights_bytes=project.weights_bytes,
        region_table_bytes=project.region_table_bytes,
        kernels_bytes=code_bytes(known.code, needed_functions(project)),
        ram_bytes=ram,
        arena_bytes=project.arena_bytes,
        stack_bytes=_stack(kernels, known),
        regions=regions,
        flash=[_flash(model.graph.ops[index], project) for index, _ in steps],
        unmeasured=unmeasured,
    )


def _regions(
    model: Model, steps: list[tuple[int, Variant]], known: Coefficients
) -> list[RegionEstimate]:
    layers: list[list[LayerEstimate]] = [[] for _ in model.regions]
    for index, variant in steps:
        name, cost = model.graph.ops[index].name, known.kernels.get(variant.kernel)
        counted: Sequence[Counts | None] = [None] * len(model.regions)
        if cost is not None and variant.kernel in MODELS:
            counted = counts_of(model, index, variant)
        for found, counts in zip(layers, counted, strict=True):
            low = middle = high = None
            if cost is not None and counts is not None:
                exact = predict(cost.coefficients, counts)
                low, middle, high = (round(exact * f) for f in (cost.low, 1.0, cost.high))
            found.append(
                LayerEstimate(
                    name=name, kernel=variant.kernel, instructions=middle, low=low, high=high
                )
            )
    return [
        RegionEstimate(
            dp=region.dp,
            instructions=_sum([layer.instructions for layer in found]),
            low=_sum([layer.low for layer in found]),
            high=_sum([layer.high for layer in found]),
            layers=found,
        )
        for region, found in zip(model.regions, layers, strict=True)
    ]


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _stack(kernels: set[str], known: Coefficients) -> int | None:
    """Of the deepest kernel, below the function that calls it."""
    costs = [known.kernels[name].stack_bytes for name in kernels if name in known.kernels]
    deepest = [depth for depth in costs if depth is not None]
    if len(deepest) < len(kernels):
        return None
    return known.run_stack_bytes + max(deepest, default=0)


def _flash(op: Op, project: Project) -> LayerFlash:
    """What an operation takes of flash; tables that layers share count for one of them."""
    return LayerFlash(
        name=op.name,
        weights_bytes=project.layer_weights_bytes(op.name),
        tables_bytes=project.layer_tables_bytes(op.name),
    )
