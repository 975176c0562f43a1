"""How far off an estimate is from what was measured.

In: an estimate and the instructions of every layer, region by region, from wherever they come:
`bench`, `profile` or `measure_estimate`. Out: a `Comparison`, for people and for scripts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.ir.graph import Model
from tesla_host.estimate.estimate import Estimate, estimate_model
from tesla_host.estimate.fit import relative_error
from tesla_host.estimate.measure import layer_instructions
from tesla_host.targets import Target
from tesla_host.workbench import make_firmware

SCHEMA = "tesla-embed/estimate-comparison/1"
ALLOWED = 0.03
"""How far off the estimate of a layer may be."""
_DIGITS = 5


class LayerError(msgspec.Struct, kw_only=True):
    """One layer in one region. `error` is the share that the estimate is too high; of layers of
    less than 1,000 instructions, in shares of that. Within a range that depends on data it is 0."""

    dp: int
    layer: str
    kernel: str
    predicted: int | None
    measured: int
    error: float | None


class Comparison(msgspec.Struct, kw_only=True):
    """All layers, the worst and the median error, and of all layers of a region together."""

    schema: str = SCHEMA
    model: str
    target: str
    toolchain: str
    compiler: str
    estimated_for: str
    layers: list[LayerError]
    worst: float | None
    median: float | None
    regions: dict[int, float | None]
    flash_predicted: int | None = None
    flash_measured: int | None = None
    ram_predicted: int | None = None
    ram_measured: int | None = None


def compare_estimate(
    model: Model,
    target: Target,
    toolchain: str | None,
    measured: Mapping[int, Sequence[int]],
    *,
    isa: Isa | None = None,
    optimize: Optimize = Optimize.BALANCED,
    compiler: str = "",
    flash_bytes: int | None = None,
    ram_bytes: int | None = None,
) -> Comparison:
    """Compare with `measured`: by DP percentage the instructions of each layer that runs code, in
    order. Raises `ConfigError` where nothing was ever measured for the target's CPU."""
    estimate = estimate_model(model, target, toolchain, isa=isa, optimize=optimize)
    layers, regions = [], {}
    for region in estimate.regions:
        if region.dp not in measured:
            continue
        ticks = measured[region.dp]
        layers += _layers(estimate, region.dp, ticks)
        total = region.instructions
        regions[region.dp] = None if total is None else round(total / sum(ticks) - 1, _DIGITS)
    errors = [abs(layer.error) for layer in layers if layer.error is not None]
    return Comparison(
        model=model.name,
        target=target.name,
        toolchain=estimate.toolchain,
        compiler=compiler,
        estimated_for=estimate.compiler,
        layers=layers,
        worst=max(errors, default=None),
        median=round(float(np.median(errors)), _DIGITS) if errors else None,
        regions=regions,
        flash_predicted=estimate.flash_bytes,
        flash_measured=flash_bytes,
        ram_predicted=estimate.ram_bytes,
        ram_measured=ram_bytes,
    )


def _layers(estimate: Estimate, dp: int, ticks: Sequence[int]) -> list[LayerError]:
    region = next(region for region in estimate.regions if region.dp == dp)
    found = []
    for layer, count in zip(region.layers, ticks, strict=True):
        error = None
        if layer.instructions is not None and layer.low is not None and layer.high is not None:
            nearest = min(max(count, layer.low), layer.high)
            ranged = layer.low < layer.high
            error = relative_error(nearest if ranged else layer.instructions, count)
        found.append(
            LayerError(
                dp=dp,
                layer=layer.name,
                kernel=layer.kernel,
                predicted=layer.instructions,
                measured=count,
                error=None if error is None else round(error, _DIGITS),
            )
        )
    return found


def measure_estimate(
    model: Model,
    target: Target,
    toolchain: str | None,
    folder: Path,
    optimize: Optimize = Optimize.BALANCED,
) -> Comparison:
    """Build and run a model with one random input for each region, and compare."""
    build = make_firmware(model, target, folder, toolchain=toolchain, optimize=optimize).build
    ticks = layer_instructions(model, target, build.elf, inputs=1)
    measured = {region.dp: runs[0] for region, runs in zip(model.regions, ticks, strict=True)}
    return compare_estimate(
        model,
        target,
        toolchain,
        measured,
        optimize=optimize,
        compiler=build.compiler,
        flash_bytes=build.flash_bytes,
        ram_bytes=build.ram_bytes,
    )
