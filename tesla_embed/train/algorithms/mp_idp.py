"""MP-IDP: incomplete dot products with several profiles (the paper, section 2.2).

Ranges of DP percentages are trained in increasing order, each at its upper end. Weights of the
ranges below are frozen, those of the ranges above are absent, and every range owns its first and
last layer. A channel has the coefficient that its range's profile gives it, but never a larger one
than the channel before. Source: McDanel, Teerapittayanon and Kung, "Incomplete dot products", 2017.
"""

import copy

import torch
from torch import Tensor, nn

from tesla_embed.nn.copies import PerRange, active_widths
from tesla_embed.nn.layers import IncompleteLayer
from tesla_embed.nn.networks import Network
from tesla_embed.nn.profiles import make_profile
from tesla_embed.train.algorithms.base import Algorithm, Stage


class MultipleProfileIdp(Algorithm):
    """One stage per range, from the lowest to the highest."""

    trains_profiles = False

    @property
    def stage_count(self) -> int:
        """One stage per range."""
        return len(self.recipe.mp_idp.ranges)

    def stage(self, index: int, epochs: int) -> Stage | None:
        """The range number `index`, trained at its upper end."""
        bounds = self.recipe.mp_idp.ranges
        if index >= len(bounds):
            return None
        return Stage(name=f"up to {bounds[index]} % DP", objective={bounds[index]: 1.0})

    def prepare(self, network: Network) -> None:
        """Give every range its own first and last layer, and every channel its coefficient."""
        bounds = self.recipe.mp_idp.ranges
        layers = [m for m in network.modules() if isinstance(m, IncompleteLayer)]
        for layer in layers:
            if layer.profile is not None:
                layer.profile = self._profile(layer, len(layer.profile))
        ends = {layers[0], layers[-1]}
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if child in ends:
                    copies = [copy.deepcopy(child) for _ in bounds]
                    setattr(parent, name, PerRange(copies, bounds))

    def backward(
        self, network: Network, stage: Stage, x: Tensor, y: Tensor, step: int = 0
    ) -> float:
        """As usual, but without gradients for the weights that lower ranges use."""
        (bound,) = stage.objective
        lower = max((b for b in self.recipe.mp_idp.ranges if b < bound), default=None)
        frozen = {} if lower is None else active_widths(network, x[:1], lower)
        loss = super().backward(network, stage, x, y, step)
        for layer, (rows, terms) in frozen.items():
            if layer.weight.grad is not None and layer.bias.grad is not None:
                layer.weight.grad[:rows, :terms] = 0
                layer.bias.grad[:rows] = 0
        return loss

    def _profile(self, layer: nn.Module, length: int) -> Tensor:
        """Coefficients `[length]`, composed of those of the ranges."""
        options, start = self.recipe.mp_idp, 0
        names = options.profiles or (self.recipe.profile,) * len(options.ranges)
        parts = []
        for name, bound in zip(names, options.ranges, strict=True):
            stop = -(-length * bound // 100)
            parts.append(make_profile(name, length)[start:stop])
            start = max(start, stop)
        return torch.cat(parts).cummin(0).values
