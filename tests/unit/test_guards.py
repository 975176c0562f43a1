"""Guards of the method: who may see which examples, and what starts afresh when.

Each test fails when the line that it guards is broken; nothing else would show such a mistake.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tesla_embed.data import DataSet, Split, split_validation
from tesla_embed.ir.store import digest
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.quant.pipeline import quantize_checkpoint
from tesla_embed.train import loop
from tesla_embed.train.algorithms.base import Algorithm
from tesla_embed.train.checkpoint import Checkpoint, load_checkpoint
from tesla_embed.train.evaluate import Measure
from tesla_embed.train.loop import EpochDone, TrainResult, train
from tesla_embed.train.recipe import Recipe, load_recipe

EPOCHS = 3
CLASSES = 3
CHANGES = (
    "hidden=[6]", "scalable=[true]", "tasks=[100, 50]", "batch=16", f"max_epochs={EPOCHS}",
    "learning_rate=1e-2", "validation=0.2",
)  # fmt: skip


def make_split(count: int, seed: int) -> Split:
    """Float vectors of three noisy classes; the first feature tells every example apart."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    x = rng.normal(y[:, None], 1.0, (count, 5)).astype(np.float32)
    assert len(set(x[:, 0])) == count
    return Split(x, y.astype(np.int64))


@pytest.fixture(scope="module")
def data() -> DataSet:
    return DataSet("npz:noise", make_split(90, 1), make_split(40, 2), CLASSES)


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("digits-mlp", CHANGES)


def with_test(data: DataSet, test: Split) -> DataSet:
    return DataSet(data.name, data.train, test, data.classes)


def poisoned(split: Split) -> Split:
    """As many examples, with values that fit no calibration and labels that are all wrong."""
    return Split(split.x * np.float32(-50), (split.y + 1) % CLASSES)


@dataclass
class Seen:
    """First features of the examples that gradients were taken of, by epoch."""

    epochs: list[list[float]] = field(default_factory=lambda: [[]])


def watched(recipe: Recipe, data: DataSet, folder: Path) -> tuple[TrainResult, Seen]:
    """Train, and take down which examples were learnt from in which order."""
    seen, real = Seen(), Algorithm.backward

    def backward(
        self: Any, network: Any, stage: Any, x: torch.Tensor, y: torch.Tensor, step: int
    ) -> float:
        seen.epochs[-1] += x[:, 0].tolist()
        return real(self, network, stage, x, y, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Algorithm, "backward", backward)
        result = train(recipe, data, folder, lambda event: seen.epochs.append([]))
    assert seen.epochs.pop() == []
    return result, seen


def test_early_stopping_watches_the_validation_split(
    recipe: Recipe, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched_splits: list[Split] = []
    real = loop.measure

    def spy(network: Network, split: Split, dp: int) -> Measure:
        watched_splits.append(split)
        return real(network, split, dp)

    monkeypatch.setattr(loop, "measure", spy)
    train(recipe, data, tmp_path)
    _, validation = split_validation(data.train, recipe.stopping.validation, recipe.seed)
    assert len(watched_splits) == EPOCHS * (1 + 2), "one task, then two"
    for split in watched_splits:
        np.testing.assert_array_equal(split.x, validation.x)
        np.testing.assert_array_equal(split.y, validation.y)


def test_training_never_looks_at_the_test_split(
    recipe: Recipe, data: DataSet, tmp_path: Path
) -> None:
    clean: list[EpochDone] = []
    dirty: list[EpochDone] = []
    first = train(recipe, data, tmp_path / "clean", clean.append)
    other = with_test(data, poisoned(data.test))
    second = train(recipe, other, tmp_path / "dirty", dirty.append)
    assert clean == dirty
    assert first.path.read_bytes() == second.path.read_bytes()


def test_gradients_come_from_the_rest_of_the_training_split(
    recipe: Recipe, data: DataSet, tmp_path: Path
) -> None:
    rest, _ = split_validation(data.train, recipe.stopping.validation, recipe.seed)
    _, seen = watched(recipe, data, tmp_path)
    assert len(seen.epochs) == 2 * EPOCHS
    for epoch in seen.epochs:
        assert sorted(epoch) == sorted(rest.x[:, 0].tolist())


def test_every_epoch_has_its_own_order(recipe: Recipe, data: DataSet, tmp_path: Path) -> None:
    _, seen = watched(recipe, data, tmp_path / "first")
    orders = {tuple(epoch) for epoch in seen.epochs}
    assert len(orders) == 2 * EPOCHS, "across stages too"


def positions(recipe: Recipe, data: DataSet, seen: Seen) -> set[tuple[int, ...]]:
    """The orders, in positions of the split trained on: that split depends on the seed as well."""
    rest, _ = split_validation(data.train, recipe.stopping.validation, recipe.seed)
    where = {feature: position for position, feature in enumerate(rest.x[:, 0].tolist())}
    return {tuple(where[feature] for feature in epoch) for epoch in seen.epochs}


def test_the_seed_decides_the_order(recipe: Recipe, data: DataSet, tmp_path: Path) -> None:
    result, seen = watched(recipe, data, tmp_path / "first")
    again, seen_again = watched(recipe, data, tmp_path / "again")
    assert seen == seen_again
    assert result.path.read_bytes() == again.path.read_bytes()
    changed = load_recipe("digits-mlp", [*CHANGES, "seed=1"])
    _, other = watched(changed, data, tmp_path / "other")
    assert not positions(recipe, data, seen) & positions(changed, data, other)


def test_every_stage_starts_with_a_fresh_optimiser(
    recipe: Recipe, data: DataSet, tmp_path: Path
) -> None:
    before: list[set[float]] = []

    def note(optimizer: torch.optim.Optimizer, *ignored: object) -> None:
        before.append({values["step"].item() for values in optimizer.state.values()})

    handle = register_optimizer_step_pre_hook(note)
    try:
        train(recipe, data, tmp_path)
    finally:
        handle.remove()
    steps = len(before) // 2
    assert steps > EPOCHS
    assert before == [set(), *({float(n)} for n in range(1, steps))] * 2


@pytest.fixture(scope="module")
def checkpoint(data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("guards")
    return load_checkpoint(train(load_recipe("digits-mlp", CHANGES), data, folder).path)


def guesses(network: Network, split: Split, dp: int) -> np.ndarray:
    set_dp(network, dp)
    with torch.no_grad():
        answers: np.ndarray = network(torch.from_numpy(split.floats())).argmax(1).numpy()
    return answers


def test_float_accuracy_is_that_of_the_test_split(data: DataSet, checkpoint: Checkpoint) -> None:
    for dp in (50, 100):
        right = guesses(checkpoint.network, data.test, dp)
        wrong = (right + 1) % CLASSES
        for labels, share in ((right, 1.0), (wrong, 0.0)):
            other = with_test(data, Split(data.test.x, labels))
            model = quantize_checkpoint(checkpoint, other, (50, 100))
            found = {entry.dp: entry for entry in model.provenance.float_answers}
            assert found[dp].accuracy(len(data.test)) == share
            assert {entry.samples for entry in found.values()} == {len(data.test)}


def test_calibration_uses_training_data_only(data: DataSet, checkpoint: Checkpoint) -> None:
    want = digest(quantize_checkpoint(checkpoint, data, (50, 100)))
    for test in (poisoned(data.test), data.test.subset(slice(0, 7))):
        other = with_test(data, test)
        assert digest(quantize_checkpoint(checkpoint, other, (50, 100))) == want
    moved = DataSet(data.name, poisoned(data.train), data.test, data.classes)
    assert digest(quantize_checkpoint(checkpoint, moved, (50, 100))) != want
