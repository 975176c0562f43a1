"""Networks that keep several copies of some layers, one for each range of DP percentages.

In: a network and a DP percentage. Out: the copies that serve it, or how wide its layers are there.
Two training methods need copies: multiple-profile IDP (own first and last layers) and individually
trained networks (own everything). A model for a device holds one copy of its weights, so
`refuse_copies` stands before every export.
"""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from tesla_embed.errors import UnsupportedOp
from tesla_embed.nn.layers import IncompleteLayer, set_dp

M = TypeVar("M", bound=nn.Module)


class PerRange(nn.Module):
    """One module per DP range, of which the present DP percentage selects one.

    `bounds` are the upper ends of the ranges in percent, ascending, the last one 100; `copies[i]`
    serves percentages above `bounds[i - 1]` up to `bounds[i]`.
    """

    def __init__(self, copies: Sequence[nn.Module], bounds: Sequence[int]) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copies)
        self.bounds = tuple(bounds)

    @property
    def dp(self) -> int:
        """The percentage that `set_dp` chose; every layer inside knows it."""
        return next(m.dp for m in self.modules() if isinstance(m, IncompleteLayer))

    def serving(self, dp: int) -> nn.Module:
        """The copy of the smallest range that contains `dp` percent."""
        index = next(i for i, bound in enumerate(self.bounds) if dp <= bound)
        return self.copies[index]

    def forward(self, x: Tensor) -> Tensor:
        """Run the copy that serves the present percentage; shapes are the copy's."""
        y: Tensor = self.serving(self.dp)(x)
        return y


def plain_at(network: M, dp: int) -> M:
    """The network that serves `dp` percent, without copies; `network` itself if it has none."""
    if not any(isinstance(module, PerRange) for module in network.modules()):
        return network
    plain = copy.deepcopy(network)
    for parent in list(plain.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, PerRange):
                setattr(parent, name, child.serving(dp))
    return plain


def refuse_copies(network: nn.Module) -> None:
    """Raise `UnsupportedOp` if `network` keeps copies: it cannot become one model."""
    for name, module in network.named_modules():
        if isinstance(module, PerRange):
            raise UnsupportedOp(
                f"the network keeps {len(module.copies)} copies of {name}, one per DP range (up to "
                f"{', '.join(map(str, module.bounds))} %), but a model holds one copy of its "
                "weights; this memory overhead comes with the algorithms mp-idp and individual: "
                "train with tesla, r-tesla or universal to export"
            )


def active_widths(network: nn.Module, x: Tensor, dp: int) -> dict[IncompleteLayer, tuple[int, int]]:
    """Active `(outputs, inputs)` of every layer that runs at `dp` percent, leading ones first.

    They index the first two axes of its weight. Found by running an example x `[1, *input_shape]`,
    so that any network will do; leaves the network at `dp` percent.
    """
    widths: dict[IncompleteLayer, tuple[int, int]] = {}

    def note(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        found = cast(IncompleteLayer, layer)
        widths[found] = (found.active_outputs(), arguments[0].shape[1])

    layers = [module for module in network.modules() if isinstance(module, IncompleteLayer)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    training = network.training
    try:
        set_dp(network, dp)
        network.eval()
        with torch.no_grad():
            network(x)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return widths
