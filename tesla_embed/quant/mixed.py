"""Which layers get four bits, when not all of them do.

In: what each layer loses and saves, and a limit: bytes for all weights, or accuracy that may be
lost. Out: the layers. Greedy: the layer that loses least per byte saved comes first, by the power
of its own output's error; a layer that saves nothing never comes. Refuses, with
`QuantizationError`, a budget that four bits in every layer exceed.
"""

from collections.abc import Callable, Sequence

from tesla_embed.errors import QuantizationError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Weighted
from tesla_embed.quant.refine import LayerLoss


def weights_bytes(model: Model) -> int:
    """Bytes of all weights on the device."""
    return sum(op.weights.bytes for op in model.graph.ops if isinstance(op, Weighted))


def within_budget(losses: Sequence[LayerLoss], present: int, budget: int) -> tuple[int, ...]:
    """The fewest layers, in greedy order, that bring `present` bytes down to `budget`."""
    chosen: list[int] = []
    left = present
    for loss in greedy(losses):
        if left <= budget:
            break
        chosen.append(loss.index)
        left -= loss.saved
    if left > budget:
        raise QuantizationError(
            f"weights of four bits in every layer take {left:,} bytes, more than the budget of "
            f"{budget:,}; allow more, or make the network smaller"
        )
    return tuple(sorted(chosen))


def within_loss(
    losses: Sequence[LayerLoss], lost: Callable[[tuple[int, ...]], float], limit: float
) -> tuple[int, ...]:
    """The most layers, in greedy order, for which `lost` stays within `limit`.

    `lost` measures a choice of layers. Searched by halving, as if more layers never lost less; the
    result itself has been measured.
    """
    order = [loss.index for loss in greedy(losses)]
    fits, fails = 0, len(order) + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if lost(tuple(sorted(order[:middle]))) <= limit:
            fits = middle
        else:
            fails = middle
    return tuple(sorted(order[:fits]))


def greedy(losses: Sequence[LayerLoss]) -> list[LayerLoss]:
    """Layers that save something, the least loss per byte first."""
    useful = [loss for loss in losses if loss.saved > 0]
    return sorted(useful, key=lambda loss: (max(loss.loss, 0.0) / loss.saved, loss.index))
