"""The training loop: stages, early stopping, best weights, and a checkpoint after every epoch.

In: a recipe, a data set and a folder. Out: `model.safetensors` in that folder. A run that was
interrupted at any moment continues from the last whole epoch and ends with the same bits. Refuses,
with `ConfigError`, data that do not fit the recipe, folders with another run's state, and a loss
that stops being finite.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tesla_embed.data import DataSet, Indices, Split, split_validation
from tesla_embed.errors import ConfigError
from tesla_embed.nn.networks import Network, build
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.algorithms.base import Algorithm, Stage
from tesla_embed.train.atp import update
from tesla_embed.train.checkpoint import CheckpointInfo, save_checkpoint
from tesla_embed.train.evaluate import measure
from tesla_embed.train.recipe import Recipe
from tesla_embed.train.state import RunState

CHECKPOINT_NAME = "checkpoint.safetensors"
MODEL_NAME = "model.safetensors"


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
    """The trained network, its checkpoint file, and how many epochs it took in all."""

    network: Network
    path: Path
    epochs: int


def train(
    recipe: Recipe, data: DataSet, folder: Path, observer: Observer | None = None
) -> TrainResult:
    """Train by `recipe`, or continue the interrupted run of the same recipe in `folder`.

    Raises `ConfigError`; the last whole checkpoint stays.
    """
    algorithm = make_algorithm(recipe)
    splits = split_validation(data.train, recipe.stopping.validation, recipe.seed)
    network = build(recipe.network, data.input_shape, data.classes, recipe.profile, recipe.seed)
    algorithm.prepare(network)
    state = RunState(recipe, network)
    path = folder / CHECKPOINT_NAME
    if path.exists():
        state.load(path, data)
    fingerprint = data.fingerprint()
    with _threads(recipe.threads):
        while stage := _next_stage(algorithm, state):
            event = _epoch(algorithm, stage, state, splits)
            state.save(path, fingerprint)
            if observer:
                observer(event)
    state.finish()
    info = CheckpointInfo(
        recipe=recipe, input_shape=data.input_shape, classes=data.classes, data=data.name
    )
    save_checkpoint(folder / MODEL_NAME, network, info)
    return TrainResult(network, folder / MODEL_NAME, state.counters.epochs)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let PyTorch use `count` CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _next_stage(algorithm: Algorithm, state: RunState) -> Stage | None:
    counters = state.counters
    return algorithm.stage(counters.stage, counters.epochs - counters.epoch)


def _epoch(
    algorithm: Algorithm, stage: Stage, state: RunState, splits: tuple[Split, Split]
) -> EpochDone:
    """One epoch of training and validation; on early stopping also the end of the stage."""
    counters, stopping = state.counters, state.recipe.stopping
    loss = _run_batches(algorithm, stage, state, splits[0])
    counters.epoch += 1
    counters.epochs += 1
    objective, accuracy = _validate(state, splits[1], stage.objective)
    if not math.isfinite(loss + objective):
        raise ConfigError(
            f"the loss is {loss} after epoch {counters.epoch} of stage {stage.name}; lower "
            "optimizer.learning_rate or scale the data"
        )
    score = objective if stage.judge == "loss" else 1 - accuracy
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
        stage_count=algorithm.stage_count,
        epoch=counters.epoch,
        loss=loss,
        objective=objective,
        accuracy=accuracy,
        improved=improved,
        fraction=min(1.0, (counters.stage + within) / algorithm.stage_count),
    )
    if stops:
        state.finish_stage()
        if goal := algorithm.goal():
            state.choose(_validate(state, splits[1], goal)[0])
    return event


def _validate(state: RunState, split: Split, objective: Mapping[int, float]) -> tuple[float, float]:
    """Loss and accuracy on the validation split, summed with the coefficients of `objective`."""
    loss, accuracy = 0.0, 0.0
    for dp, coefficient in objective.items():
        measured = measure(state.network, split, dp)
        loss += coefficient * measured.loss
        accuracy += coefficient * measured.accuracy
    return loss, accuracy


def _run_batches(algorithm: Algorithm, stage: Stage, state: RunState, split: Split) -> float:
    """One pass over the training split in the order that seed and epoch decide; the mean loss."""
    rng = np.random.default_rng([state.recipe.seed, state.counters.epochs])
    order = rng.permutation(len(split))
    state.network.train()
    total, size = 0.0, state.recipe.optimizer.batch
    starts = range(0, len(order), size)
    for number, start in enumerate(starts):
        indices = order[start : start + size]
        state.set_rate(_rate(stage, state.counters.epoch + number / len(starts)))
        step = state.counters.epochs * len(starts) + number
        batch = _tensors(split, indices)
        loss = update(algorithm, state.network, state.optimizer, stage, batch, step)
        total += len(indices) * loss
    return total / len(order)


def _rate(stage: Stage, epoch: float) -> float:
    """Learning rate after `epoch` epochs of a stage, relative to the recipe's."""
    if stage.epochs is None or stage.schedule == "constant":
        return stage.rate
    return stage.rate * (1 + math.cos(math.pi * epoch / stage.epochs)) / 2


def _tensors(split: Split, indices: Indices) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split.floats(indices)), torch.from_numpy(split.y[indices])
