"""What `estimate` would have said of what `bench` measured.

In: a model, how it was built, and the instructions of its layers. Out: by DP percentage an
`Estimated`; nothing where nothing was measured for the CPU and the compiler that an estimate could
be made of.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_host.estimate.coefficients import load_coefficients
from tesla_host.estimate.comparison import LayerError, compare_estimate
from tesla_host.targets import Target

_DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """Instructions of the layers together, and by which share that is too high.

    `worst_layer_error` is the largest of a single layer, without its sign (`LayerError`).
    """

    instructions: int
    error: float
    worst_layer_error: float


def estimated(
    model: Model,
    target: Target,
    toolchain: str | None,
    ticks: Mapping[int, Sequence[int]],
    *,
    isa: Isa,
    optimize: Optimize,
    only: int | None = None,
) -> dict[int, Estimated]:
    """Compare with `ticks`, by DP percentage the instructions of each layer that runs code; `only`
    one of these layers, where a number is given."""
    try:
        load_coefficients(target, toolchain, optimize)
    except ConfigError:
        return {}
    found = compare_estimate(model, target, toolchain, ticks, isa=isa, optimize=optimize)
    layers = {dp: [layer for layer in found.layers if layer.dp == dp] for dp in ticks}
    judged = {
        dp: _judged(rows if only is None else rows[only : only + 1]) for dp, rows in layers.items()
    }
    return {dp: result for dp, result in judged.items() if result is not None}


def _judged(layers: Collection[LayerError]) -> Estimated | None:
    """All of some layers; `None` if one of them has no estimate."""
    predicted = [layer.predicted for layer in layers if layer.predicted is not None]
    errors = [abs(layer.error) for layer in layers if layer.error is not None]
    measured = sum(layer.measured for layer in layers)
    if len(predicted) < len(layers) or not measured:
        return None
    return Estimated(
        instructions=sum(predicted),
        error=round(sum(predicted) / measured - 1, _DIGITS),
        worst_layer_error=max(errors),
    )
