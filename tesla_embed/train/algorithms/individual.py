"""Individually trained networks: one for each operating region, nothing shared.

Not a method for a device, which would have to hold them all, but what the paper and its successors
compare a shared network with: the accuracy that a plain network of the active width reaches alone.
"""

import copy

import torch
from torch import nn

from tesla_embed.nn.copies import PerRange, active_widths
from tesla_embed.nn.layers import IncompleteLayer, set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.train.algorithms.base import Algorithm, Stage


class Individual(Algorithm):
    """One stage per region, which trains the network of that region alone."""

    trains_profiles = False
    uses_profile = False

    @property
    def stage_count(self) -> int:
        """One stage per region."""
        return len(self.recipe.individual.regions)

    def stage(self, index: int, epochs: int) -> Stage | None:
        """The region number `index`, for the epochs of the budget."""
        regions, budget = self.recipe.individual.regions, self.recipe.budget
        if index >= len(regions):
            return None
        return Stage(
            name=f"network of {regions[index]} % DP",
            objective={regions[index]: 1.0},
            epochs=budget.epochs,
            judge="accuracy",
            rate=budget.peak / self.recipe.optimizer.learning_rate,
            schedule=budget.schedule,
        )

    def prepare(self, network: Network) -> None:
        """Replace the body by one plain body per region, as wide as the region's active part.

        Initial weights are drawn anew, one body after the other, from the seed.
        """
        device = next(network.parameters()).device
        blank = torch.zeros(1, *network.input_shape, device=device)
        generator = torch.Generator("cpu").manual_seed(self.recipe.seed)
        bodies = []
        for dp in self.recipe.individual.regions:
            body = copy.deepcopy(network.body)
            for layer, (rows, terms) in active_widths(body, blank, dp).items():
                _narrow(layer, rows, terms)
                if device.type != "meta":
                    layer.reset(generator)
            bodies.append(body)
        network.add_module("body", PerRange(bodies, self.recipe.individual.regions))
        set_dp(network, 100)


def _narrow(layer: IncompleteLayer, rows: int, terms: int) -> None:
    """Keep the leading `rows` outputs and `terms` inputs of a layer and let it scale no more."""
    layer.weight = nn.Parameter(layer.weight.detach()[:rows, :terms].clone())
    layer.bias = nn.Parameter(layer.bias.detach()[:rows].clone())
    layer.outputs, layer.scalable, layer.profile = rows, False, None
