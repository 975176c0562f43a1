"""What a training step with several tasks costs, beside a step of the ordinary module.

In: a recipe, the shape of an example and DP percentages. Out: `StepCosts`, times in shares of the
plain module's, next to shares of multiply-accumulates and to plain modules of the same widths:
narrow layers are slow by themselves, and that is not the price of sharing weights. All candidates
take turns, round after round, and each one's fastest round counts, so that other load on the
machine hits all alike. Refuses, with `ConfigError`, recipes whose data are not known.
"""

import copy
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tesla_embed.errors import ConfigError
from tesla_embed.nn.copies import refuse_copies
from tesla_embed.nn.cost import count_macs
from tesla_embed.nn.layers import ScalableLayer, set_dp
from tesla_embed.nn.networks import Network, build
from tesla_embed.train.optimizer import make_optimizer
from tesla_embed.train.parallel import choose_device
from tesla_embed.train.recipe import Recipe

SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "mnist": ((28, 28, 1), 10), "digits": ((8, 8, 1), 10), "cifar10": ((32, 32, 3), 10),
    "cifar100": ((32, 32, 3), 100), "kws": ((49, 10, 1), 12), "vww": ((96, 96, 3), 2),
    "ad": ((640,), 2),
}  # fmt: skip
"""Shape of an example and number of classes of the data that a recipe is named after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCost:
    """Forward and backward pass at `dp` percent, in shares of the plain module's at full width.

    `macs` is the share of multiply-accumulates, `scalable` the time of the scalable network and
    `narrow` that of a plain module of the same widths.
    """

    dp: int
    macs: float
    scalable: float
    narrow: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCosts:
    """Costs of the tasks of a step, and of the step, with its one update of the weights.

    `whole` is the step of the scalable network in shares of a step of the plain module, which
    takes `plain_s` seconds with a batch of `batch` examples.
    """

    tasks: tuple[TaskCost, ...]
    whole: float
    plain_s: float
    batch: int
    device: str

    @property
    def macs(self) -> float:
        """Σ of the tasks' shares of multiply-accumulates."""
        return sum(task.macs for task in self.tasks)

    @property
    def scalable(self) -> float:
        """Σ of the tasks' times."""
        return sum(task.scalable for task in self.tasks)

    @property
    def narrow(self) -> float:
        """Σ of the times of plain modules."""
        return sum(task.narrow for task in self.tasks)


def known_data(recipe: Recipe) -> tuple[tuple[int, ...], int]:
    """Shape of an example and number of classes, by the recipe's name.

    Raises `ConfigError` for other recipes.
    """
    found = SHAPES.get(recipe.name.partition("-")[0])
    if found is None:
        raise ConfigError(f"the data of recipe {recipe.name} are not known; give --data-shape")
    return found


def measure_step(
    recipe: Recipe,
    shape: tuple[int, ...],
    classes: int,
    dps: Sequence[int],
    rounds: int = 15,
    observer: Callable[[int], None] | None = None,
) -> StepCosts:
    """Measure a step of `recipe` on examples `shape`, with tasks at `dps` (percent).

    `observer` is told how many of the `rounds` are done. Raises `ConfigError`.
    """
    device = choose_device(recipe.device)
    before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        bench = _Bench(recipe, shape, classes, dps, device)
        for done in range(1, rounds + 1):
            bench.run_round()
            if observer:
                observer(done)
        return bench.result()
    finally:
        torch.set_num_threads(before)


class _Bench:
    """The candidates and the least time of each so far."""

    def __init__(
        self,
        recipe: Recipe,
        shape: tuple[int, ...],
        classes: int,
        dps: Sequence[int],
        device: torch.device,
    ) -> None:
        self.device, self.dps = device, tuple(dps)
        network = build(recipe.network, shape, classes, recipe.profile, 0, recipe.batch_norm)
        refuse_copies(network)
        self.network = network.to(device).train()
        self.x = torch.rand(recipe.optimizer.batch, *shape, device=device)
        self.y = torch.arange(len(self.x), device=device) % classes
        full = recipe.network.plain(shape, classes).to(device).train()
        narrow = {dp: plain_like(full, network, dp) for dp in {*self.dps, 100}}
        self.runs: dict[tuple[str, int], Callable[[], None]] = {}
        for dp in narrow:
            self.runs["scalable", dp] = functools.partial(self._scalable, (dp,), None)
            self.runs["narrow", dp] = functools.partial(self._plain, narrow[dp], None)
        own = make_optimizer(recipe.optimizer, network)
        other = make_optimizer(recipe.optimizer, narrow[100])
        self.runs["scalable", 0] = functools.partial(self._scalable, self.dps, own)
        self.runs["narrow", 0] = functools.partial(self._plain, narrow[100], other)
        self.least = dict.fromkeys(self.runs, math.inf)
        # Of this process alone where it does the work in one thread: other load counts less.
        alone = device.type == "cpu" and recipe.threads == 1
        self.clock = time.process_time if alone else time.perf_counter

    def run_round(self) -> None:
        """Run every candidate once."""
        for key, run in self.runs.items():
            start = self.clock()
            run()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.least[key] = min(self.least[key], self.clock() - start)

    def result(self) -> StepCosts:
        """Shares of the plain module's times."""
        macs = {dp: count_macs(self.network, dp) for dp in {*self.dps, 100}}
        base = self.least["narrow", 100]
        tasks = tuple(
            TaskCost(
                dp=dp,
                macs=macs[dp] / macs[100],
                scalable=self.least["scalable", dp] / base,
                narrow=self.least["narrow", dp] / base,
            )
            for dp in self.dps
        )
        step_s = self.least["narrow", 0]
        whole = self.least["scalable", 0] / step_s
        kind = self.device.type
        return StepCosts(tasks=tasks, whole=whole, plain_s=step_s, batch=len(self.x), device=kind)

    def _scalable(self, dps: Sequence[int], optimizer: torch.optim.Optimizer | None) -> None:
        self.network.zero_grad()
        for dp in dps:
            set_dp(self.network, dp)
            self._backward(self.network)
        if optimizer:
            optimizer.step()

    def _plain(self, module: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        module.zero_grad()
        self._backward(module)
        if optimizer:
            optimizer.step()

    def _backward(self, module: nn.Module) -> None:
        output: Tensor = module(self.x)
        self.network.loss(output, self.x, self.y).backward()  # type: ignore[no-untyped-call]


def plain_like(full: nn.Module, network: Network, dp: int) -> nn.Module:
    """A copy of the plain module that `network` was made from, as narrow as that is at `dp`."""
    plain = copy.deepcopy(full)
    for name, layer in network.body.named_modules():
        if not isinstance(layer, ScalableLayer):
            continue
        own = plain.get_submodule(name)
        sizes = (layer.source.width(dp), layer.target.width(dp))
        if isinstance(own, nn.Linear):
            own.in_features, own.out_features = sizes
        elif isinstance(own, nn.Conv1d | nn.Conv2d):
            own.groups = sizes[0] if own.groups > 1 else 1
            own.in_channels, own.out_channels = sizes
        elif isinstance(own, nn.BatchNorm1d | nn.BatchNorm2d):
            own.num_features = sizes[0]
        _cut(own, *sizes)
    return plain


def _cut(layer: nn.Module, inputs: int, outputs: int) -> None:
    """Keep the leading part of the weights and statistics of a plain layer."""
    for name, value in list(layer.named_parameters()) + list(layer.named_buffers()):
        if value.ndim == 0:
            continue
        kept = value.detach()[:outputs]
        kept = kept[:, :inputs] if kept.ndim > 1 else kept
        kept = kept.clone()
        setattr(layer, name, nn.Parameter(kept) if isinstance(value, nn.Parameter) else kept)
