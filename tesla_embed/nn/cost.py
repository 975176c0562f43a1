"""True multiply-accumulates of a scalable network at any DP percentage."""

import math
from collections.abc import Sequence

import torch

from tesla_embed.nn.layers import IncompleteConv, IncompleteLinear
from tesla_embed.nn.networks import Network
from tesla_embed.nn.steps import trace


def count_macs(network: Network, dps: Sequence[int]) -> dict[int, int]:
    """Multiply-accumulates of one inference at every one of `dps` (percent), padding counted in.

    Batch norm, profiles and biases count nothing: they are folded when a network is deployed.
    """
    first = next(network.parameters())
    example = torch.zeros(2, *network.input_shape, device=first.device, dtype=first.dtype)
    steps = trace(network.body, example).steps
    totals = dict.fromkeys(dps, 0)
    for step in steps:
        layer = step.module
        for dp in totals:
            if isinstance(layer, IncompleteLinear):
                totals[dp] += layer.source.width(dp) * layer.target.width(dp)
            elif isinstance(layer, IncompleteConv):
                terms = 1 if layer.depthwise else layer.source.width(dp)
                pixels = math.prod(step.shape[2:]) * math.prod(layer.kernel)
                totals[dp] += pixels * terms * layer.target.width(dp)
    return totals
