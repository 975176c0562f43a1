"""Soft pruning: let training decide which channels may die, through masks it can differentiate.

In: a network and options. Out: batch norm whose channels fade while they are trained, and a loss
that says how much of the network is left. Refuses, with `UnsupportedOp`, networks that keep
several copies of their layers, and with `ConfigError` those without batch norm before a ReLU.

A channel that leaves batch norm as N(b, w²) is zero after a ReLU with probability Φ(-b/|w|). Its
mask compares that with a threshold P, smoothly: m = 1 / (1 + exp((Φ(-b/|w|) - P) / T)). In training
the channel is multiplied by m, and the mean mask, every layer weighted with the
multiply-accumulates that make its channels, is added to the loss: both pull at b and w, the loss
towards what the channel is good for, the mean towards its death. Validation judges the network as
it is, without masks, but counts its size; so the stages that end by their loss (idp, tesla,
r-tesla) prefer smaller networks, while a stage with a budget of epochs still takes its most
accurate one. Channels that end above P are removed by `prune`, which finds them by the same
probability. After Kang and Han, "Operation-Aware Soft Channel Pruning using Differentiable
Masks", ICML 2020; they draw masks at random with this probability, here it is the mask itself.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec
import torch
from torch import Tensor

from tesla_embed.errors import ConfigError
from tesla_embed.nn.cost import layer_macs
from tesla_embed.nn.moments import CLIPS
from tesla_embed.nn.networks import Network
from tesla_embed.nn.norm import IncompleteBatchNorm
from tesla_embed.nn.order import refuse_several
from tesla_embed.nn.steps import trace


class SoftPruning(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How hard training pushes channels out; `strength` 0 leaves them alone.

    `strength` is the loss that a complete network gets for its size. `threshold` is the probability
    of being dead at which a mask is one half, `temperature` how gradually masks fall there.
    """

    strength: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.99
    temperature: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.1


class _Fade:
    """The mask of channels with scale and shift `[C]` each."""

    def __init__(self, options: SoftPruning) -> None:
        self.options = options

    def __call__(self, weight: Tensor, bias: Tensor) -> Tensor:
        deviation = weight.abs().clamp(min=1e-6)  # one that never varies still has a gradient
        dead = torch.special.ndtr(-bias / deviation)
        return torch.sigmoid((self.options.threshold - dead) / self.options.temperature)


@dataclass(frozen=True, slots=True)
class Pressure:
    """What pushes the channels of some batch norms out, in proportion to their `shares` (sum 1)."""

    options: SoftPruning
    layers: tuple[IncompleteBatchNorm, ...] = ()
    shares: tuple[float, ...] = ()

    def loss(self) -> Tensor:
        """strength · Σ share · mean(mask): the strength itself while nothing has faded."""
        left = [
            share * layer.fade(layer.weight, layer.bias).mean()
            for layer, share in zip(self.layers, self.shares, strict=True)
            if layer.fade is not None and layer.weight is not None and layer.bias is not None
        ]
        return self.options.strength * torch.stack(left).sum() if left else torch.zeros(())

    def add_gradients(self) -> float:
        """Add the gradients of the loss to the parameters, and return it."""
        loss = self.loss()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def release(self) -> None:
        """Let the channels be as they are, from now on."""
        for layer in self.layers:
            layer.fade = None


def soften(network: Network, options: SoftPruning) -> Pressure:
    """Let batch norm before a ReLU or ReLU6 fade its channels, if `options` ask for it.

    Raises `ConfigError` and `UnsupportedOp`.
    """
    if not options.strength:
        return Pressure(options)
    refuse_several(network)
    first = next(network.parameters())
    example = torch.zeros(2, *network.input_shape, device=first.device, dtype=first.dtype)
    traced = trace(network.body, example)
    costs: dict[IncompleteBatchNorm, float] = {}
    for index, step in enumerate(traced.steps):
        layer, readers = step.module, [traced.steps[r] for r in traced.readers(index)]
        if not isinstance(layer, IncompleteBatchNorm) or layer.weight is None:
            continue
        if layer.target.scalable and readers and all(r.function in CLIPS for r in readers):
            maker = traced.steps[step.inputs[0]]
            costs[layer] = costs.get(layer, 0) + max(1, layer_macs(maker, 100))
    if not costs:
        raise ConfigError(
            "soft pruning needs batch norm before ReLU or ReLU6, and this network has none; leave "
            "soft_pruning.strength at 0"
        )
    for layer in costs:
        layer.fade = _Fade(options)
    total = sum(costs.values())
    return Pressure(options, tuple(costs), tuple(value / total for value in costs.values()))
