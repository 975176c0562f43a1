"""The state of a training run after an epoch, and its file.

In and out: network, optimiser, best weights of the stage and counters. Everything random follows
from the seed and the number of epochs done, so no generator's state is kept. Refuses, with
`ConfigError`, files that are damaged or belong to another recipe or other data.
"""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from tesla_embed.data import DataSet
from tesla_embed.errors import ConfigError
from tesla_embed.nn.networks import Network
from tesla_embed.train.atp import parameter_groups
from tesla_embed.train.checkpoint import check_state
from tesla_embed.train.recipe import Recipe, recipe_bytes
from tesla_embed.train.tensors import read_tensors, write_tensors

SCHEMA = "tesla-embed/training/1"
_ADVICE = "choose another --out or delete it"


class Counters(msgspec.Struct, kw_only=True):
    """Where a run stands: `epoch` counts in the stage, `epochs` in all, `stale` without a gain.

    `best` is the lowest validation score of the stage (loss or error rate), `None` before its first
    epoch. `reached` is the lowest value of the algorithm's goal after a stage, `None` before the
    first or without a goal.
    """

    stage: int = 0
    epoch: int = 0
    epochs: int = 0
    stale: int = 0
    best: float | None = None
    reached: float | None = None


class _Header(msgspec.Struct, kw_only=True):
    recipe: Recipe
    data: str
    counters: Counters
    schema: str = SCHEMA


@dataclass(slots=True)
class RunState:
    """A run between two epochs; `best` holds the stage's best weights, empty before its first.

    `chosen` holds the weights after the stage that came closest to the algorithm's goal.
    """

    recipe: Recipe
    network: Network
    optimizer: torch.optim.Optimizer = field(init=False)
    best: dict[str, Tensor] = field(default_factory=dict)
    chosen: dict[str, Tensor] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.renew_optimizer()

    def renew_optimizer(self) -> None:
        """Start the optimiser afresh: a new stage has a new objective."""
        rate = self.recipe.optimizer.learning_rate
        self.optimizer = torch.optim.Adam(parameter_groups(self.network, rate), fused=True)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    def set_rate(self, factor: float) -> None:
        """Let every group of parameters learn at `factor` times its initial rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]

    def keep_best(self) -> None:
        """Remember the present weights as the best of the stage."""
        self.best = self._weights()

    def choose(self, goal: float) -> None:
        """Remember the present weights for the end if `goal` is lower than after earlier stages."""
        if self.counters.reached is None or goal < self.counters.reached:
            self.chosen, self.counters.reached = self._weights(), goal

    def finish(self) -> None:
        """Go to the weights that were chosen, if any were."""
        if self.chosen:
            self.network.load_state_dict(self.chosen)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.network.state_dict().items()}

    def finish_stage(self) -> None:
        """Go back to the stage's best weights and stand before the next stage."""
        self.network.load_state_dict(self.best)
        self.best = {}
        self.renew_optimizer()
        done = self.counters
        self.counters = Counters(stage=done.stage + 1, epochs=done.epochs, reached=done.reached)

    def save(self, path: Path, data: str) -> None:
        """Write the state in one step; `data` is the fingerprint of the data set."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"chosen.{name}": value for name, value in self.chosen.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
        header = _Header(recipe=self.recipe, data=data, counters=self.counters)
        write_tensors(path, tensors, header)

    def load(self, path: Path, data: DataSet) -> None:
        """Continue from the state in `path`. Raises `ConfigError` when it is not this run's."""
        tensors, encoded = read_tensors(path, SCHEMA, _ADVICE)
        try:
            header = msgspec.json.decode(encoded, type=_Header)
        except msgspec.DecodeError as error:
            raise ConfigError(f"the header of {path} is malformed: {error}; {_ADVICE}") from error
        if recipe_bytes(header.recipe) != recipe_bytes(self.recipe):
            raise ConfigError(f"{path} belongs to a run of another recipe; {_ADVICE}")
        if header.data != data.fingerprint():
            raise ConfigError(f"{path} belongs to a run on other data; {_ADVICE}")
        groups: dict[str, dict[str, Tensor]] = {
            group: {} for group in ("network", "best", "chosen", "optimizer")
        }
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = tensor
        check_state(path, self.network, groups["network"], _ADVICE)
        if groups["best"] or header.counters.best is not None:
            check_state(path, self.network, groups["best"], _ADVICE)
        if groups["chosen"] or header.counters.reached is not None:
            check_state(path, self.network, groups["chosen"], _ADVICE)
        self.network.load_state_dict(groups["network"])
        self.best, self.chosen = groups["best"], groups["chosen"]
        self.counters = header.counters
        self._load_optimizer(path, groups["optimizer"])

    def _load_optimizer(self, path: Path, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        groups = self.optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        for name, tensor in tensors.items():
            index, _, key = name.partition(".")
            number = int(index) if index.isdecimal() else -1
            fits = 0 <= number < len(parameters) and (
                key == "step" or tensor.shape == parameters[number].shape
            )
            if not fits:
                raise ConfigError(f"{path} has optimiser state {name} that fits nothing; {_ADVICE}")
            state.setdefault(number, {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
