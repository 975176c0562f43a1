"""Networks that keep several copies of some layers, one for each range of DP percentages.

In: a network and a DP percentage. Out: the copies that serve it, or how wide its layers are there.
Two training methods need copies: multiple-profile IDP (own first and last layers) and individually
trained networks (own everything). A model for a device holds one copy of its weights, so
`refuse_copies` stands before every export.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import TypeVar

from torch import Tensor, nn

from tesla_embed.errors import UnsupportedOp
from tesla_embed.nn.layers import ScalableLayer, channel_groups, set_dp

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
        return next(m.dp for m in self.modules() if isinstance(m, ScalableLayer))

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


def layers_at(module: nn.Module, dp: int) -> Iterator[ScalableLayer]:
    """The scalable layers that serve `dp` percent, in the order of their registration."""
    for child in module.children():
        serving = child.serving(dp) if isinstance(child, PerRange) else child
        if isinstance(serving, ScalableLayer):
            yield serving
        else:
            yield from layers_at(serving, dp)


def copy_layer(layer: M) -> M:
    """A copy with weights of its own that shares its channel groups: widths stay common."""
    groups = channel_groups(layer).values()
    return copy.deepcopy(layer, {id(group): group for group in groups})


def narrowed(module: M, dp: int) -> M:
    """A copy that holds only what is active at `dp` percent: a plain network, without a profile."""
    plain = copy.deepcopy(module)
    set_dp(plain, dp)
    for layer in plain.modules():
        if isinstance(layer, ScalableLayer):
            layer.narrow()
            layer.profile = None
    for group in channel_groups(plain).values():
        group.size, group.scalable = group.active, False
    return plain
