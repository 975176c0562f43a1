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
from tesla_embed.nn.copies import PerRange
from tesla_embed.nn.networks import Network
from tesla_embed.train.algorithms.base import Algorithm
from tesla_embed.train.checkpoint import check_state
from tesla_embed.train.optimizer import make_optimizer
from tesla_embed.train.recipe import Recipe, Stopping, recipe_bytes
from tesla_embed.train.tensors import read_tensors, write_tensors

SCHEMA = "tesla-embed/training/1"
_ADVICE = "choose another --out or delete it"
_OPTIMIZER_STATE = {"adam": ("step", "exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}

Natural = Annotated[int, msgspec.Meta(ge=0)]


class Counters(msgspec.Struct, kw_only=True):
    """Where a run stands: `epoch` counts in the stage, `epochs` in all, `stale` without a gain.

    `best` is the lowest validation score of the stage, `None` before its first epoch. `reached` is
    the lowest value of the algorithm's goal after a stage, `None` before the first or without goal.
    """

    stage: Natural = 0
    epoch: Natural = 0
    epochs: Natural = 0
    stale: Natural = 0
    best: float | None = None
    reached: float | None = None

    def consistent(self, algorithm: Algorithm, stopping: Stopping) -> bool:
        """Whether a run of `algorithm` can stand here."""
        before = self.epochs - self.epoch
        stage = algorithm.stage(self.stage, before) if before >= 0 else None
        limit = stopping.max_epochs if stage is None or stage.epochs is None else stage.epochs
        stages = algorithm.stage(self.stage - 1, 0) if stage is None and self.stage else stage
        longest = stopping.max_epochs if stages is None else stages.epochs or stopping.max_epochs
        if not self.stage <= min(before, algorithm.stage_count) or before > self.stage * longest:
            return False
        if (self.reached is None) != (self.stage == 0 or algorithm.goal() is None):
            return False
        if self.epoch == 0:  # between two stages, before the first or after the last
            return self.stale == 0 and self.best is None
        early = stage is not None and stage.epochs is None
        allowed = min(self.epoch, stopping.patience) if early else self.epoch
        return (
            stage is not None
            and self.best is not None
            and self.stale < allowed
            and self.epoch < limit
        )


class _Header(msgspec.Struct, kw_only=True):
    recipe: Recipe
    data: str
    counters: Counters
    initial: str = ""
    where: str = ""
    schema: str = SCHEMA


@dataclass(slots=True)
class RunState:
    """A run between two epochs; `best` holds the stage's best weights, empty before its first.

    `chosen` holds the weights after the stage that came closest to the algorithm's goal. `initial`
    is the digest of the file that the weights came from at first, empty for random ones. `where`
    says how many processes train on which kind of device: others would go on to other weights.
    """

    recipe: Recipe
    network: Network
    initial: str = ""
    where: str = ""
    optimizer: torch.optim.Optimizer = field(init=False)
    best: dict[str, Tensor] = field(default_factory=dict)
    chosen: dict[str, Tensor] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.renew_optimizer()

    def renew_optimizer(self) -> None:
        """Start the optimiser afresh: a new stage has a new objective."""
        self.optimizer = make_optimizer(self.recipe.optimizer, self.network)

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
            for key, value in values.items():
                if value is not None:  # as without momentum
                    tensors[f"optimizer.{index}.{key}"] = value
        header = _Header(
            recipe=self.recipe,
            data=data,
            counters=self.counters,
            initial=self.initial,
            where=self.where,
        )
        write_tensors(path, tensors, header)

    def load(self, path: Path, data: DataSet, algorithm: Algorithm) -> None:
        """Continue from the state in `path`, of a run of `algorithm`.

        Raises `ConfigError` when it is not this run's, or nothing that this run can have written.
        """
        tensors, encoded = read_tensors(path, SCHEMA, _ADVICE)
        try:
            header = msgspec.json.decode(encoded, type=_Header)
        except msgspec.DecodeError as error:
            raise ConfigError(f"the header of {path} is malformed: {error}; {_ADVICE}") from error
        if recipe_bytes(header.recipe) != recipe_bytes(self.recipe):
            raise ConfigError(f"{path} belongs to a run of another recipe; {_ADVICE}")
        if header.initial != self.initial:
            raise ConfigError(f"{path} belongs to a run from other initial weights; {_ADVICE}")
        if header.where != self.where:
            raise ConfigError(
                f"{path} belongs to a run on {header.where}, this is {self.where}; go on there, or "
                f"{_ADVICE}"
            )
        if header.data != data.fingerprint():
            raise ConfigError(f"{path} belongs to a run on other data; {_ADVICE}")
        if not header.counters.consistent(algorithm, self.recipe.stopping):
            raise ConfigError(f"the counters of {path} contradict its recipe; {_ADVICE}")
        self._load_tensors(path, tensors, header.counters)

    def _load_tensors(self, path: Path, tensors: dict[str, Tensor], counters: Counters) -> None:
        """Check that all tensors are there and no others, then take them over."""
        groups: dict[str, dict[str, Tensor]] = {"network": {}}
        if counters.epoch > 0:
            groups |= {"best": {}, "optimizer": {}}
        if counters.reached is not None:
            groups["chosen"] = {}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            if group not in groups:
                raise ConfigError(f"{path} has an unknown tensor {name}; {_ADVICE}")
            groups[group][rest] = tensor
        for group in groups.keys() - {"optimizer"}:
            check_state(path, self.network, groups[group], _ADVICE)
        if "optimizer" in groups:
            state = self._optimizer_state(path, groups["optimizer"])
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.network.load_state_dict(groups["network"])
        self.best, self.chosen = groups.get("best", {}), groups.get("chosen", {})
        self.counters = counters

    def _optimizer_state(
        self, path: Path, tensors: dict[str, Tensor]
    ) -> dict[int, dict[str, Tensor]]:
        """The optimiser's state by the number of the parameter, checked to be whole."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._check_names(path, parameters, tensors)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            index, _, key = name.partition(".")
            shape = torch.Size() if key == "step" else parameters[int(index)].shape
            fits = tensor.dtype == torch.float32 and tensor.shape == shape
            if key in ("step", "exp_avg_sq"):  # a count of steps from 1, and a mean of squares
                fits = fits and bool((tensor >= (key == "step")).all())
            if not fits:
                raise ConfigError(f"{path} has optimiser state {name} that fits nothing; {_ADVICE}")
            state.setdefault(int(index), {})[key] = tensor
        if len({values["step"].item() for values in state.values() if "step" in values}) > 1:
            raise ConfigError(f"{path} has optimiser state of different steps; {_ADVICE}")
        return state

    def _check_names(
        self, path: Path, parameters: list[Tensor], tensors: dict[str, Tensor]
    ) -> None:
        """Every parameter has all of its state; copies of layers that did not run have none."""
        options = self.recipe.optimizer
        keys = (
            _OPTIMIZER_STATE[options.method] if options.method != "sgd" or options.momentum else ()
        )
        optional = {
            id(parameter)
            for module in self.network.modules()
            if isinstance(module, PerRange)
            for parameter in module.parameters()
        }
        expected = set()
        for number, parameter in enumerate(parameters):
            names = {f"{number}.{key}" for key in keys}
            if id(parameter) not in optional or names & tensors.keys():
                expected |= names
        odd = sorted(expected ^ tensors.keys())
        if odd:
            what = "lacks" if odd[0] in expected else "has unexpected"
            raise ConfigError(f"{path} {what} optimiser state {odd[0]}; {_ADVICE}")
