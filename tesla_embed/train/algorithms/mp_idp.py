"""MP-IDP: incomplete dot products with several profiles (the paper, section 2.2).

Ranges of DP percentages are trained in increasing order, each at its upper end. Weights of the
ranges below are frozen, those of the ranges above are absent, and every range owns its first and
last layer. A channel has the coefficient that its range's profile gives it, but never a larger one
than the channel before. Source: McDanel, Teerapittayanon and Kung, "Incomplete dot products", 2017.
"""

import torch
from torch import Tensor

from tesla_embed.errors import ConfigError
from tesla_embed.nn.channels import ChannelGroup
from tesla_embed.nn.copies import PerRange, copy_layer, layers_at
from tesla_embed.nn.layers import IncompleteLayer, IncompleteLinear, ScalableLayer, set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.nn.profiles import make_profile
from tesla_embed.train.algorithms.base import Algorithm, Stage
from tesla_embed.train.recipe import Recipe


class MultipleProfileIdp(Algorithm):
    """One stage per range, from the lowest to the highest."""

    trains_profiles = False

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if recipe.optimizer.weight_decay:
            raise ConfigError(
                "algorithm mp-idp freezes weights, which weight decay would move; add --set "
                "weight_decay=0"
            )

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
        layers = [m for m in network.modules() if isinstance(m, ScalableLayer)]
        for layer in layers:
            if layer.profile is not None:
                layer.profile = self._profiles(layer)
        weighted = [layer for layer in layers if isinstance(layer, IncompleteLayer)]
        ends = {weighted[0], weighted[-1]}
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if child in ends:
                    setattr(parent, name, PerRange([copy_layer(child) for _ in bounds], bounds))

    def backward(
        self, network: Network, stage: Stage, x: Tensor, y: Tensor, step: int = 0
    ) -> float:
        """As usual, but without gradients for the weights that lower ranges use."""
        loss = super().backward(network, stage, x, y, step)
        (bound,) = stage.objective
        lower = max((b for b in self.recipe.mp_idp.ranges if b < bound), default=None)
        if lower is not None:
            set_dp(network, lower)
            for layer in layers_at(network, lower):
                _freeze(layer)
        return loss

    def _profiles(self, layer: ScalableLayer) -> Tensor:
        """Coefficients for the parts of a profile that are the layer's own, ones elsewhere."""
        assert layer.profile is not None
        span = layer.source if isinstance(layer, IncompleteLinear) else layer.target
        made, start = torch.ones_like(layer.profile), 0
        for part in span.parts:
            whole = slice(start, start + part.size)
            if layer.own is None or whole in layer.own:
                made[whole] = self._profile(part.group).repeat_interleave(part.repeat)
            start += part.size
        return made

    def _profile(self, group: ChannelGroup) -> Tensor:
        """Coefficients `[group.size]`, composed of those of the ranges."""
        options, start = self.recipe.mp_idp, 0
        names = options.profiles or (self.recipe.profile,) * len(options.ranges)
        parts = []
        for name, bound in zip(names, options.ranges, strict=True):
            stop = group.width(bound)
            parts.append(make_profile(name, group.size)[start:stop])
            start = max(start, stop)
        return torch.cat(parts).cummin(0).values


def _freeze(layer: ScalableLayer) -> None:
    """Take away the gradients of everything that is active in `layer` now."""
    rows = layer.target.take(torch.arange(layer.target.size))
    whole = getattr(layer, "depthwise", False)
    terms = None if whole else layer.source.take(torch.arange(layer.source.size))
    for parameter in layer.parameters():
        if parameter.grad is not None and (parameter.ndim == 1 or terms is None):
            parameter.grad[rows] = 0
        elif parameter.grad is not None:
            parameter.grad[rows[:, None], terms] = 0
