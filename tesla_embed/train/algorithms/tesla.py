"""TESLA: task-wise early stopping and loss aggregation (the paper, section 3, Algorithm 1).

Tasks come in decreasing order of DP percentage. Stage i minimises the aggregate of all tasks so
far, L_1^obj = L_1 and L_{i+1}^obj = α L_{i+1} + (1 - α) L_i^obj (Eq. 3), until early stopping, and
starts from the weights that stage i - 1 arrived at.
"""

from collections.abc import Sequence

from tesla_embed.train.algorithms.base import Algorithm, Stage


def aggregate(tasks: Sequence[int], alpha: float) -> dict[int, float]:
    """Coefficients of Eq. 3 after the last of `tasks` (DP percent, in order of appearance).

    L_1 keeps (1 - α)^(n-1), L_i gets α (1 - α)^(n-i) for i ≥ 2; they sum to 1. A task that appears
    several times collects all its coefficients.
    """
    objective = {tasks[0]: 1.0}
    for task in tasks[1:]:
        objective = {dp: (1 - alpha) * share for dp, share in objective.items()}
        objective[task] = objective.get(task, 0.0) + alpha
    return objective


class Tesla(Algorithm):
    """Algorithm 1 of the paper."""

    @property
    def stage_count(self) -> int:
        """One stage per task."""
        return len(self.recipe.tesla.tasks)

    def stage(self, index: int, epochs: int) -> Stage | None:
        """The aggregate of the first `index + 1` tasks."""
        options = self.recipe.tesla
        if index >= len(options.tasks):
            return None
        tasks = options.tasks[: index + 1]
        return Stage(name=f"{tasks[-1]} % DP", objective=aggregate(tasks, options.alpha))
