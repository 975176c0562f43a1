"""The training loop: stages, early stopping, best weights, and a checkpoint after every epoch.

In: a recipe, a data set and a folder. Out: `model.safetensors` in that folder. A run that was
interrupted at any moment continues from the last whole epoch and ends with the same bits. Refuses,
with `ConfigError`, data that do not fit the recipe, networks too large to become models, folders
with another run's state, and a loss that stops being finite.
"""

import contextlib
import functools
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tesla_embed.data import (
    DataSet,
    Indices,
    Split,
    check_classes,
    check_data,
    split_validation,
)
from tesla_embed.errors import ConfigError, GraphError, UnsupportedOp
from tesla_embed.ir.verify import verify
from tesla_embed.nn.copies import layers_at
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network, build
from tesla_embed.nn.norm import IncompleteBatchNorm, recalibrate
from tesla_embed.nn.soften import Pressure, soften
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.algorithms.base import Algorithm, Stage
from tesla_embed.train.atp import update
from tesla_embed.train.augment import Augmenter, make_augmenter
from tesla_embed.train.calibration import calibration_batches
from tesla_embed.train.checkpoint import CheckpointInfo, save_checkpoint
from tesla_embed.train.evaluate import measure
from tesla_embed.train.initial import adopt_widths, digest, load_initial
from tesla_embed.train.log import TrainingLog
from tesla_embed.train.optimizer import learning_rate, set_learning_rate
from tesla_embed.train.parallel import Workers, choose_device, deterministic, workers
from tesla_embed.train.recipe import Recipe
from tesla_embed.train.state import RunState

CHECKPOINT_NAME = "checkpoint.safetensors"
MODEL_NAME = "model.safetensors"
_STREAM = 4
"""Sets PyTorch's random numbers apart from all others that follow from the seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochDone:
    """What is known after an epoch.

    `epoch` counts from 1 within the stage. `loss` is the mean training objective; `objective` and
    `accuracy` are the same sum over DP percentages on the validation split. `fraction` estimates
    how much of the whole run is done, 0 to 1: early stopping makes the true share unknowable.
    """

    stage: str
    stage_index: int
    stage_count: int
    epoch: int
    loss: float
    objective: float
    accuracy: float
    improved: bool
    fraction: float


class Observer(Protocol):
    """Whoever wants to show progress."""

    def __call__(self, event: EpochDone) -> None:
        """Take note of an epoch."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The trained network, its checkpoint file, and how many epochs it took in all.

    `left_out` are the tensors of the initial weights that fit nothing in the network.
    """

    network: Network
    path: Path
    epochs: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Run:
    """What stays the same during a run."""

    algorithm: Algorithm
    state: RunState
    training: Split
    validation: Split
    workers: Workers
    device: torch.device
    pressure: Pressure
    left_out: tuple[str, ...] = ()


def train(
    recipe: Recipe,
    data: DataSet,
    folder: Path,
    observer: Observer | None = None,
    *,
    initial: Path | None = None,
    tensorboard: bool = False,
) -> TrainResult:
    """Train by `recipe`, or continue the interrupted run of the same recipe in `folder`.

    `initial` is a file of weights to start from; the network takes over the widths of a pruned one.
    Under torchrun all processes train together, with a batch of the recipe each, and the first one
    writes the files; `observer` is told there.
    Raises `ConfigError`; the last whole checkpoint stays.
    """
    device = choose_device(recipe.device)
    if initial is not None:
        recipe = adopt_widths(recipe, initial)
    with _threads(recipe.threads), deterministic(device), workers(device) as group:
        run = _prepare(recipe, data, initial, group, device)
        path, state = folder / CHECKPOINT_NAME, run.state
        if path.exists():
            state.load(path, data, run.algorithm)
        fingerprint = data.fingerprint()
        log = TrainingLog(folder, state.counters.epochs, tensorboard) if group.first else None
        while stage := _next_stage(run.algorithm, state):
            started, rate = time.monotonic(), _rate(run, stage)
            with _own_randomness(recipe.seed, state.counters.epochs, group.rank, device):
                event = _epoch(run, stage)
            if log:
                log.add(_row(event, state.counters.epochs, rate, time.monotonic() - started))
                state.save(path, fingerprint)
                if observer:
                    observer(event)
        state.finish()
        network = _finish(run)
        info = CheckpointInfo(
            recipe=recipe, input_shape=data.input_shape, classes=data.classes, data=data.name
        )
        if log:
            log.close()
            save_checkpoint(folder / MODEL_NAME, network, info)
        group.wait()
    return TrainResult(network, folder / MODEL_NAME, state.counters.epochs, run.left_out)


def _prepare(
    recipe: Recipe, data: DataSet, initial: Path | None, group: Workers, device: torch.device
) -> _Run:
    algorithm = make_algorithm(recipe)
    check_data(data)
    splits = split_validation(data.train, recipe.stopping.validation, recipe.seed)
    if recipe.network.task == "classify":
        check_classes(data, splits[0])
    if group.count > len(splits[1]):
        raise ConfigError(
            f"{group.count} processes share {len(splits[1])} validation examples; start fewer, or "
            "raise stopping.validation"
        )
    network = build(
        recipe.network,
        data.input_shape,
        data.classes,
        recipe.profile,
        recipe.seed,
        recipe.batch_norm,
    )
    _check_limits(recipe, network)
    if initial is not None and not algorithm.keeps_weights:
        raise ConfigError(f"algorithm {recipe.algorithm} draws its own weights; leave --init out")
    left_out = load_initial(network, initial) if initial is not None else ()
    algorithm.prepare(network)
    network.to(device)
    where = f"{group.count} x {device.type}"
    state = RunState(recipe, network, digest(initial) if initial is not None else "", where)
    pressure = soften(network, recipe.soft_pruning)
    return _Run(algorithm, state, *splits, group, device, pressure, left_out)


def _finish(run: _Run) -> Network:
    """Complete the statistics of batch norm and return the network, on the CPU."""
    network, options = run.state.network, run.state.recipe.batch_norm
    if run.state.counters.epochs:
        empty = [row for row in options.rows if _lacks(network, row)]
        again = options.rows if options.mode == "recalibrate" else empty
        recalibrate(network, lambda: _samples(run), again)
    run.pressure.release()
    set_dp(network, 100)
    return network.cpu()


def _lacks(network: Network, row: int) -> bool:
    """Whether batch norm knows no statistics for `row` percent."""
    serving = (layer for layer in layers_at(network, row) if isinstance(layer, IncompleteBatchNorm))
    return any(not layer.batches[layer.rows.index(row)] for layer in serving)


def _samples(run: _Run) -> Iterator[Tensor]:
    """The training examples that batch norm is recalibrated on, in batches of equal size."""
    return calibration_batches(run.training, run.state.recipe.batch_norm.samples, run.device)


def _row(event: EpochDone, epochs: int, rate: float, seconds: float) -> dict[str, object]:
    return {
        "epochs": epochs,
        "stage": event.stage,
        "epoch": event.epoch,
        "learning_rate": f"{rate:.6g}",
        "loss": repr(event.loss),
        "objective": repr(event.objective),
        "accuracy": repr(event.accuracy),
        "improved": int(event.improved),
        "seconds": f"{seconds:.3f}",
    }


def _check_limits(recipe: Recipe, network: Network) -> None:
    """Refuse before the training what quantisation would refuse after it."""
    try:
        verify(to_model(network, recipe.name.replace("-", "_"), (100,)))
    except UnsupportedOp:
        return  # it can be trained, and evaluated, all the same
    except GraphError as error:
        raise ConfigError(f"the network is too large for a model: {error}; shrink it") from error


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let PyTorch use `count` CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _own_randomness(seed: int, epoch: int, rank: int, device: torch.device) -> Iterator[None]:
    """Let what PyTorch draws, as dropout does, follow from the epoch; spare everybody else."""
    drawn = np.random.default_rng([seed, epoch, rank, _STREAM]).integers(2**63)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(drawn))
        yield


def _next_stage(algorithm: Algorithm, state: RunState) -> Stage | None:
    counters = state.counters
    return algorithm.stage(counters.stage, counters.epochs - counters.epoch)


def _epoch(run: _Run, stage: Stage) -> EpochDone:
    """One epoch of training and validation; on early stopping also the end of the stage."""
    state = run.state
    counters, stopping = state.counters, state.recipe.stopping
    loss = _run_batches(run, stage)
    counters.epoch += 1
    counters.epochs += 1
    objective, accuracy = _validate(run, stage.objective)
    objective += run.pressure.loss().item()
    if not math.isfinite(loss + objective):
        raise ConfigError(
            f"the loss is {loss:g} and on validation data {objective:g} after epoch "
            f"{counters.epoch} of stage {stage.name}; lower optimizer.learning_rate or scale the "
            "data"
        )
    score = stage.score(objective, accuracy)
    improved = counters.best is None or score < counters.best - stopping.min_gain
    counters.stale = 0 if improved else counters.stale + 1
    if improved:
        counters.best = score
        state.keep_best()
    if stage.epochs is None:
        stops = counters.stale >= stopping.patience or counters.epoch >= stopping.max_epochs
        within = 1.0 if stops else counters.epoch / (counters.epoch + 2 * stopping.patience)
    else:
        stops, within = counters.epoch >= stage.epochs, counters.epoch / stage.epochs
    event = EpochDone(
        stage=stage.name,
        stage_index=counters.stage,
        stage_count=run.algorithm.stage_count,
        epoch=counters.epoch,
        loss=loss,
        objective=objective,
        accuracy=accuracy,
        improved=improved,
        fraction=min(1.0, (counters.stage + within) / run.algorithm.stage_count),
    )
    if stops:
        state.finish_stage()
        if goal := run.algorithm.goal():
            state.choose(_validate(run, goal)[0])
    return event


def _validate(run: _Run, objective: Mapping[int, float]) -> tuple[float, float]:
    """Loss and accuracy on the validation split, summed with the coefficients of `objective`.

    The same in all processes.
    """
    network, options = run.state.network, run.state.recipe.batch_norm
    run.workers.average_statistics(network)
    if options.mode == "recalibrate":
        used = {next(row for row in options.rows if row >= dp) for dp in objective}
        recalibrate(network, lambda: _samples(run), sorted(used))
    mine = run.validation
    if run.workers.count > 1:
        mine = mine.subset(np.arange(run.workers.rank, len(mine), run.workers.count))
    loss, accuracy = 0.0, 0.0
    for dp, coefficient in objective.items():
        measured = measure(network, mine, dp)
        loss += coefficient * measured.loss
        accuracy += coefficient * measured.accuracy
    if run.workers.count > 1:
        share = len(mine) / len(run.validation)
        loss, accuracy = run.workers.totals([loss * share, accuracy * share])
    return loss, accuracy


def _run_batches(run: _Run, stage: Stage) -> float:
    """One pass over the training split in the order that seed and epoch decide; the mean loss.

    Every process takes its part of each batch; together they see `batch` times their number.
    """
    state, split, group = run.state, run.training, run.workers
    recipe, epoch = state.recipe, state.counters.epochs
    order = np.random.default_rng([recipe.seed, epoch]).permutation(len(split))
    augmenter = make_augmenter(
        recipe.augmentation, split.x.shape[1:], len(split), recipe.seed, epoch
    )
    state.network.train()
    total, batch = 0.0, recipe.optimizer.batch * group.count
    starts = range(0, len(order), batch)
    for number, start in enumerate(starts):
        whole = order[start : start + batch]
        indices = whole[group.rank :: group.count]
        examples = _tensors(split, indices, augmenter, run.device) if len(indices) else None
        step = epoch * len(starts) + number
        set_learning_rate(state.optimizer, _rate(run, stage, number / len(starts)))
        backward = functools.partial(
            _backward, run, stage, examples, step, len(indices) / len(whole)
        )
        total += len(indices) * update(state.network, state.optimizer, backward)
    return group.totals([total])[0] / len(order)


def _backward(
    run: _Run, stage: Stage, examples: tuple[Tensor, Tensor] | None, step: int, share: float
) -> float:
    """Gradients of this process's `share` of a batch, averaged over all; its own mean loss."""
    network, loss = run.state.network, 0.0
    if examples is not None:
        with _precision(run.state.recipe.precision, run.device):
            loss = run.algorithm.backward(network, stage, *examples, step)
        loss += run.pressure.add_gradients()  # outside of the reduced precision
    run.workers.average_gradients(network, share)
    return loss


def _rate(run: _Run, stage: Stage, part: float = 0.0) -> float:
    """Learning rate in this epoch, of which `part` is over."""
    state = run.state
    return learning_rate(state.recipe, stage.epochs, state.counters.epoch + part)


def _precision(name: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Products in bfloat16 if asked for; no cache, because a step differentiates several times."""
    if name == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def _tensors(
    split: Split, indices: Indices, augmenter: Augmenter | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    x = split.floats(indices)
    if augmenter is not None:
        assert isinstance(indices, np.ndarray)
        x = augmenter.apply(x, indices)
    return torch.from_numpy(x).to(device), torch.from_numpy(split.y[indices]).to(device)
