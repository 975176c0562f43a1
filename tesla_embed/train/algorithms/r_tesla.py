"""R-TESLA: TESLA with tasks in random order (the paper, section 3.3, Algorithm 2).

The first task is the first of `tesla.tasks`. At every early stop another one joins the aggregate,
which may hold a task several times. By default tasks come in rounds, each once a round in random
order: some fifty epochs are too few for independent draws to be uniform. With weights given by the
user ("derived from the behavioral statistics of users") every draw is independent. No stage begins
once the stages before it took more than `r_tesla.max_epoch` epochs together. The paper notes that
the last network need not be the best one (section 4.1); unless `r_tesla.keep` says `last`, the
result is that of the stage that serves all tasks best on the validation split.
"""

from collections.abc import Mapping

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
        first, options = self.recipe.tesla.tasks[0], self.recipe.r_tesla
        tasks = options.regions or self.recipe.tesla.tasks
        if index == 0:
            return first
        if options.weights:
            weights = np.asarray(options.weights)
            return int(self._random(index).choice(tasks, p=weights / weights.sum()))
        # The first round goes without the task that is there already.
        opening = [task for task in self._random(0).permutation(tasks) if task != first]
        if index <= len(opening):
            return int(opening[index - 1])
        number, place = divmod(index - 1 - len(opening), len(tasks))
        return int(self._random(1 + number).permutation(tasks)[place])

    def goal(self) -> Mapping[int, float] | None:
        """The losses of all tasks, weighted as they are drawn; none with `keep` `last`."""
        options = self.recipe.r_tesla
        if options.keep == "last":
            return None
        tasks = options.regions or self.recipe.tesla.tasks
        weights = options.weights or (1.0,) * len(tasks)
        return {dp: weight / sum(weights) for dp, weight in zip(tasks, weights, strict=True)}

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, number, _STREAM])

    def stage(self, index: int, epochs: int) -> Stage | None:
        """The aggregate of the first `index + 1` tasks."""
        if epochs > self.recipe.r_tesla.max_epoch:
            return None
        tasks = [self.task(number) for number in range(index + 1)]
        objective = aggregate(tasks, self.recipe.tesla.alpha)
        return Stage(name=f"{tasks[-1]} % DP", objective=objective)
