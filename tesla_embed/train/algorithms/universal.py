"""Universally slimmable training: the sandwich rule with in-place distillation.

Every step trains the largest width with the labels, and the smallest and some random widths with
what the largest one answers. Widths in between are thus trained too, which closes the gaps that
TESLA leaves between its tasks. Source: Yu and Huang, "Universally Slimmable Networks and Improved
Training Techniques", ICCV 2019, sections 3.2 and 3.3.
"""

import math

import numpy as np
from torch import Tensor

from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.train.algorithms.base import Algorithm, Stage

_STREAM = 3
_JUDGED = 5
"""So many percentages, evenly spaced, judge an epoch on the validation split."""


class Universal(Algorithm):
    """One stage over a whole range of DP percentages."""

    @property
    def stage_count(self) -> int:
        """One stage."""
        return 1

    def stage(self, index: int, epochs: int) -> Stage | None:
        """All percentages from the smallest to 100, for the epochs of the budget."""
        if index > 0:
            return None
        smallest, budget = self.recipe.universal.smallest, self.recipe.budget
        judged = {int(dp) for dp in np.linspace(100, smallest, _JUDGED).round()}
        return Stage(
            name=f"{smallest} to 100 % DP",
            objective={dp: 1 / len(judged) for dp in sorted(judged, reverse=True)},
            epochs=budget.epochs,
        )

    def widths(self, step: int) -> tuple[int, ...]:
        """DP percentages below the largest that step number `step` trains, the smallest first."""
        options = self.recipe.universal
        rng = np.random.default_rng([self.recipe.seed, step, _STREAM])
        if options.scale == "logarithmic":
            low, high = math.log(options.smallest - 0.5), math.log(100.5)
            drawn = np.exp(rng.uniform(low, high, options.random)).round().astype(np.int64)
        else:
            drawn = rng.integers(options.smallest, 100, options.random, endpoint=True)
        return (options.smallest, *map(int, drawn))

    def backward(
        self, network: Network, stage: Stage, x: Tensor, y: Tensor, step: int = 0
    ) -> float:
        """The loss against the data, then against the largest width's detached answers."""
        widths = self.widths(step)
        set_dp(network, 100)
        answers = network(x)
        loss = network.loss(answers, x, y) / (1 + len(widths))
        loss.backward()  # type: ignore[no-untyped-call]
        total = loss.item()
        for dp in widths:
            set_dp(network, dp)
            loss = network.imitation(network(x), answers) / (1 + len(widths))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total
