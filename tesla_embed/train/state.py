"""The state of a training run after an epoch, and its file.

In and out: network, optimiser, best weights of the stage and counters. Everything random follows
from the seed and the number of epochs done, so no generator's state is kept. Refuses, with
`ConfigError`, files that are damaged or belong to another recipe or other data.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import torch
from torch import Tensor

from tesla_embed.data import DataSet
from tesla_embed.errors import ConfigError
from tesla_embed.nn.networks import Network
from tesla_embed.train.checkpoint import check_state
from tesla_embed.train.recipe import Recipe, recipe_bytes
from tesla_embed.train.tensors import read_tensors, write_tensors

SCHEMA = "tesla-embed/training/1"
_ADVICE = "choose another --out or delete it"
_ADAM_STATE = {"step", "exp_avg", "exp_avg_sq"}

Natural = Annotated[int, msgspec.Meta(ge=0)]


class Counters(msgspec.Struct, kw_only=True):
    """Where a run stands: `epoch` counts in the stage, `epochs` in all, `stale` without a gain.

    `best` is the lowest validation objective of the stage, `None` before its first epoch.
    """

    stage: Natural = 0
    epoch: Natural = 0
    epochs: Natural = 0
    stale: Natural = 0
    best: float | None = None

    def consistent(self, stage_count: int, patience: int, max_epochs: int) -> bool:
        """Whether a run of `stage_count` stages that stop early in this way can stand here."""
        before = self.epochs - self.epoch
        if not self.stage <= before <= self.stage * max_epochs:
            return False
        if self.epoch == 0:  # between two stages, before the first or after the last
            return self.stage <= stage_count and self.stale == 0 and self.best is None
        judged = self.best is not None and self.stale < min(self.epoch, patience)
        return judged and self.stage < stage_count and self.epoch < max_epochs


class _Header(msgspec.Struct, kw_only=True):
    recipe: Recipe
    data: str
    counters: Counters
    schema: str = SCHEMA


@dataclass(slots=True)
class RunState:
    """A run between two epochs; `best` holds the stage's best weights, empty before its first."""

    recipe: Recipe
    network: Network
    optimizer: torch.optim.Optimizer = field(init=False)
    best: dict[str, Tensor] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.renew_optimizer()

    def renew_optimizer(self) -> None:
        """Start the optimiser afresh: a new stage has a new objective."""
        rate = self.recipe.optimizer.learning_rate
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate)

    def keep_best(self) -> None:
        """Remember the present weights as the best of the stage."""
        self.best = {name: value.clone() for name, value in self.network.state_dict().items()}

    def finish_stage(self) -> None:
        """Go back to the stage's best weights and stand before the next stage."""
        self.network.load_state_dict(self.best)
        self.best = {}
        self.renew_optimizer()
        self.counters = Counters(stage=self.counters.stage + 1, epochs=self.counters.epochs)

    def save(self, path: Path, data: str) -> None:
        """Write the state in one step; `data` is the fingerprint of the data set."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
        header = _Header(recipe=self.recipe, data=data, counters=self.counters)
        write_tensors(path, tensors, header)

    def load(self, path: Path, data: DataSet, stage_count: int) -> None:
        """Continue from the state in `path`, of a run of `stage_count` stages.

        Raises `ConfigError` when it is not this run's, or nothing that this run can have written.
        """
        tensors, encoded = read_tensors(path, SCHEMA, _ADVICE)
        try:
            header = msgspec.json.decode(encoded, type=_Header)
        except msgspec.DecodeError as error:
            raise ConfigError(f"the header of {path} is malformed: {error}; {_ADVICE}") from error
        if recipe_bytes(header.recipe) != recipe_bytes(self.recipe):
            raise ConfigError(f"{path} belongs to a run of another recipe; {_ADVICE}")
        if header.data != data.fingerprint():
            raise ConfigError(f"{path} belongs to a run on other data; {_ADVICE}")
        stopping = self.recipe.stopping
        if not header.counters.consistent(stage_count, stopping.patience, stopping.max_epochs):
            raise ConfigError(f"the counters of {path} contradict its recipe; {_ADVICE}")
        self._load_tensors(path, tensors, header.counters)

    def _load_tensors(self, path: Path, tensors: dict[str, Tensor], counters: Counters) -> None:
        """Check that all tensors are there and no others, then take them over."""
        under_way = counters.epoch > 0
        kinds = ("network", "best", "optimizer") if under_way else ("network",)
        groups: dict[str, dict[str, Tensor]] = {kind: {} for kind in kinds}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            if group not in groups:
                raise ConfigError(f"{path} has an unknown tensor {name}; {_ADVICE}")
            groups[group][rest] = tensor
        check_state(path, self.network, groups["network"], _ADVICE)
        if under_way:
            check_state(path, self.network, groups["best"], _ADVICE)
            state = self._optimizer_state(path, groups["optimizer"])
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.network.load_state_dict(groups["network"])
        self.best, self.counters = groups.get("best", {}), counters

    def _optimizer_state(
        self, path: Path, tensors: dict[str, Tensor]
    ) -> dict[int, dict[str, Tensor]]:
        """Adam's state by the number of the parameter, checked to be whole."""
        parameters = list(self.network.parameters())
        expected = {f"{n}.{key}" for n in range(len(parameters)) for key in _ADAM_STATE}
        odd = sorted(expected ^ tensors.keys())
        if odd:
            what = "lacks" if odd[0] in expected else "has unexpected"
            raise ConfigError(f"{path} {what} optimiser state {odd[0]}; {_ADVICE}")
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            index, _, key = name.partition(".")
            shape = torch.Size() if key == "step" else parameters[int(index)].shape
            fits = tensor.dtype == torch.float32 and tensor.shape == shape
            if key != "exp_avg":  # a count of steps from 1, and a mean of squares
                fits = fits and bool((tensor >= (key == "step")).all())
            if not fits:
                raise ConfigError(f"{path} has optimiser state {name} that fits nothing; {_ADVICE}")
            state.setdefault(int(index), {})[key] = tensor
        if len({values["step"].item() for values in state.values()}) > 1:
            raise ConfigError(f"{path} has optimiser state of different steps; {_ADVICE}")
        return state
