"""True multiply-accumulates of a scalable network at any DP percentage."""

import math

import torch

from tesla_embed.nn.layers import IncompleteConv, IncompleteLinear
from tesla_embed.nn.networks import Network
from tesla_embed.nn.steps import Step, trace


def count_macs(network: Network, dp: int) -> int:
    """Multiply-accumulates of one inference at `dp` percent, padding counted in.

    Batch norm, profiles and biases count nothing: they are folded when a network is deployed.
    """
    first = next(network.parameters())
    example = torch.zeros(2, *network.input_shape, device=first.device, dtype=first.dtype)
    return sum(layer_macs(step, dp) for step in trace(network.body, example).steps)


def layer_macs(step: Step, dp: int) -> int:
    """Multiply-accumulates of one step at `dp` percent; none without dot products."""
    layer = step.module
    if isinstance(layer, IncompleteLinear):
        return layer.source.width(dp) * layer.target.width(dp)
    if isinstance(layer, IncompleteConv):
        terms = 1 if layer.depthwise else layer.source.width(dp)
        pixels = math.prod(step.shape[2:]) * math.prod(layer.kernel)
        return pixels * terms * layer.target.width(dp)
    return 0
