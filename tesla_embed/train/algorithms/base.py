"""What a training algorithm is: a sequence of stages, and the loss that a step minimises.

In: a recipe. Out: stages one after the other, and gradients for every batch. The loop in
`tesla_embed.train.loop` does the rest: optimiser, early stopping, best weights, checkpoints.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.train.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One run of the optimiser until early stopping.

    `objective` maps DP percentages to their coefficients, which sum to 1: the aggregated loss is
    Σ coefficient · L_dp, and early stopping watches the same sum on the validation split.
    """

    name: str
    objective: Mapping[int, float]


class Algorithm(abc.ABC):
    """Chooses the stages of a training run; must depend on nothing but its arguments."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abc.abstractmethod
    def stage(self, index: int, epochs: int) -> Stage | None:
        """Stage number `index` after `epochs` epochs in all before it; `None` ends the training."""

    @property
    @abc.abstractmethod
    def stage_count(self) -> int:
        """How many stages there will be, for showing progress."""

    def backward(self, network: Network, stage: Stage, x: Tensor, y: Tensor) -> float:
        """Add the gradients of one batch to the parameters; returns the loss.

        x is `[B, *input_shape]`, y `[B]`. By default the stage's aggregate of the network's loss;
        every DP percentage is differentiated by itself, so memory does not grow with their number.
        """
        total = 0.0
        for dp, coefficient in stage.objective.items():
            set_dp(network, dp)
            loss = coefficient * network.loss(network(x), x, y)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total
