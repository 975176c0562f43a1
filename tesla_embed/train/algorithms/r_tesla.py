"""R-TESLA: TESLA with tasks in random order (the paper, section 3.3, Algorithm 2).

The first task is the first of `tesla.tasks`. At every early stop the next one is drawn from a
distribution, uniform or given by the user ("derived from the behavioral statistics of users"), and
joins the aggregate, which may hold a task several times. No stage begins once the stages before it
took more than `r_tesla.max_epoch` epochs together.
"""

import numpy as np

from tesla_embed.train.algorithms.base import Algorithm, Stage
from tesla_embed.train.algorithms.tesla import aggregate

_STREAM = 2
"""Keeps these draws apart from those of everything else that follows from the seed."""


class RandomizedTesla(Algorithm):
    """Algorithm 2 of the paper."""

    @property
    def stage_count(self) -> int:
        """An upper bound: a stage stops early after `patience` epochs without a gain."""
        stopping = self.recipe.stopping
        shortest = min(stopping.patience + 1, stopping.max_epochs)
        return 1 + -(-(self.recipe.r_tesla.max_epoch + 1) // shortest)

    def task(self, index: int) -> int:
        """The task that joins at stage `index`, in DP percent: from seed and index alone."""
        if index == 0:
            return self.recipe.tesla.tasks[0]
        options = self.recipe.r_tesla
        tasks = options.regions or self.recipe.tesla.tasks
        weights = np.asarray(options.weights or [1.0] * len(tasks))
        rng = np.random.default_rng([self.recipe.seed, index, _STREAM])
        return int(rng.choice(tasks, p=weights / weights.sum()))

    def stage(self, index: int, epochs: int) -> Stage | None:
        """The aggregate of the first `index + 1` tasks."""
        if epochs > self.recipe.r_tesla.max_epoch:
            return None
        tasks = [self.task(number) for number in range(index + 1)]
        objective = aggregate(tasks, self.recipe.tesla.alpha)
        return Stage(name=f"{tasks[-1]} % DP", objective=objective)
