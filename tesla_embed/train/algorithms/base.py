"""What a training algorithm is: a sequence of stages, and the loss that a step minimises.

In: a recipe. Out: stages one after the other, and gradients for every batch. The loop in
`tesla_embed.train.loop` does the rest: optimiser, early stopping, best weights, checkpoints.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.nn.profiles import TRAINABLE, release_profiles
from tesla_embed.train.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One run of the optimiser until early stopping, or for `epochs` epochs if that is given.

    `objective` maps DP percentages to their coefficients, which sum to 1: the aggregated loss is
    Σ coefficient · L_dp, and early stopping watches the same sum on the validation split. With
    `epochs` the learning rate is the budget's of the recipe. Either way the stage ends with the
    weights of its best epoch there: of the lowest loss or, with `epochs`, the highest accuracy,
    because a falling learning rate goes on raising accuracy when confidence already costs loss.
    """

    name: str
    objective: Mapping[int, float]
    epochs: int | None = None

    def score(self, loss: float, accuracy: float) -> float:
        """What early stopping and the choice of the best epoch want to be low."""
        return loss if self.epochs is None else 1.0 - accuracy


class Algorithm(abc.ABC):
    """Chooses the stages of a training run; must depend on nothing but its arguments.

    `trains_profiles`: the profile may be learnt (`tesla_embed.train.atp`). `uses_profile`: the
    profile has an effect. `keeps_weights`: training begins with the weights it is given.
    """

    trains_profiles: ClassVar[bool] = True
    uses_profile: ClassVar[bool] = True
    keeps_weights: ClassVar[bool] = True

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def prepare(self, network: Network) -> None:
        """Change a freshly built network to what this algorithm trains.

        By default a profile that is to be learnt becomes parameters. Runs before training and
        before the weights of a checkpoint are loaded; then they are on the device `meta`.
        """
        if self.recipe.profile == TRAINABLE:
            release_profiles(network)

    @abc.abstractmethod
    def stage(self, index: int, epochs: int) -> Stage | None:
        """Stage number `index` after `epochs` epochs in all before it; `None` ends the training."""

    @property
    @abc.abstractmethod
    def stage_count(self) -> int:
        """How many stages there will be at most, for showing progress."""

    def goal(self) -> Mapping[int, float] | None:
        """What decides which stage's network is the result: a sum like a stage's `objective`.

        The lowest value on the validation split wins. By default `None`: the last stage's network.
        """
        return None

    def backward(
        self, network: Network, stage: Stage, x: Tensor, y: Tensor, step: int = 0
    ) -> float:
        """Add the gradients of one batch to the parameters; returns the loss.

        x is `[B, *input_shape]`, y `[B]`; `step` counts the batches of the whole run. By default
        the stage's aggregate of the network's loss; every DP percentage is differentiated by
        itself, so memory does not grow with their number.
        """
        del step
        total = 0.0
        for dp, coefficient in stage.objective.items():
            set_dp(network, dp)
            loss = coefficient * network.loss(network(x), x, y)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total
