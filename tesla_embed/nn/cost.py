"""True multiply-accumulates of a scalable network at any DP percentage."""

import math

import torch

from tesla_embed.nn.layers import IncompleteConv, IncompleteLinear
from tesla_embed.nn.networks import Network
from tesla_embed.nn.steps import trace


def count_macs(network: Network, dp: int) -> int:
    """Multiply-accumulates of one inference at `dp` percent, padding counted in.

    Batch norm, profiles and biases count nothing: they are folded when a network is deployed.
    """
    first = next(network.parameters())
    example = torch.zeros(2, *network.input_shape, device=first.device, dtype=first.dtype)
    total = 0
    for step in trace(network.body, example).steps:
        layer = step.module
        if isinstance(layer, IncompleteLinear):
            total += layer.source.width(dp) * layer.target.width(dp)
        elif isinstance(layer, IncompleteConv):
            terms = 1 if layer.depthwise else layer.source.width(dp)
            pixels = math.prod(step.shape[2:]) * math.prod(layer.kernel)
            total += pixels * terms * layer.target.width(dp)
    return total
