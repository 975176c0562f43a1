"""Individually trained networks: one for each operating region, nothing shared.

Not a method for a device, which would have to hold them all, but what the paper and its successors
compare a shared network with: the accuracy that a plain network of the active width reaches alone.
"""

import torch

from tesla_embed.nn.copies import PerRange, narrowed
from tesla_embed.nn.layers import IncompleteLayer, set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.nn.norm import norms
from tesla_embed.train.algorithms.base import Algorithm, Stage


class Individual(Algorithm):
    """One stage per region, which trains the network of that region alone."""

    trains_profiles = False
    uses_profile = False
    keeps_weights = False

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
        )

    def prepare(self, network: Network) -> None:
        """Replace the body by one plain body per region, as wide as the region's active part.

        Initial weights are drawn anew, one body after the other, from the seed.
        """
        generator = torch.Generator().manual_seed(self.recipe.seed)
        bodies = []
        for dp in self.recipe.individual.regions:
            body = narrowed(network.body, dp)
            for layer in body.modules():
                if isinstance(layer, IncompleteLayer) and not layer.weight.is_meta:
                    layer.reset(generator, self.recipe.network.gain)
            for norm in norms(body):
                norm.reset()
            bodies.append(body)
        network.body = PerRange(bodies, self.recipe.individual.regions)
        set_dp(network, 100)
