"""Training: the objective, early stopping, resuming, and the files it leaves."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from tesla_embed.data import DataSet, Split, load_data
from tesla_embed.errors import ConfigError
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network, build
from tesla_embed.train import loop
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.algorithms.tesla import aggregate
from tesla_embed.train.evaluate import Measure, evaluate
from tesla_embed.train.log import LOG_NAME
from tesla_embed.train.loop import EpochDone, train
from tesla_embed.train.recipe import Recipe, load_recipe

TINY = ["hidden=[12]", "scalable=[true]", "max_epochs=2", "tasks=[100, 30]", "batch=256"]
TINY_CNN = [
    "channels=[4]", "pool_sizes=[2]", "channels_scalable=[true]", "max_epochs=2",
    "tasks=[100, 30]", "batch=256",
]  # fmt: skip


Tensors = dict[str, torch.Tensor | None]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits")


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("digits-mlp", TINY)


def test_aggregate_is_equation_3() -> None:
    assert aggregate([100], 0.3) == {100: 1.0}
    assert aggregate([100, 70], 0.3) == pytest.approx({100: 0.7, 70: 0.3})
    want = {100: 0.125, 70: 0.125, 40: 0.25, 10: 0.5}
    assert aggregate([100, 70, 40, 10], 0.5) == pytest.approx(want)
    losses = {100: 3.0, 70: 5.0, 40: 7.0, 10: 11.0}
    objective = losses[100]
    for task in (70, 40, 10):
        objective = 0.3 * losses[task] + 0.7 * objective
    coefficients = aggregate(list(losses), 0.3)
    assert sum(c * losses[dp] for dp, c in coefficients.items()) == pytest.approx(objective)
    assert sum(aggregate([40, 100, 40, 40], 0.5).values()) == pytest.approx(1)


def test_tesla_adds_tasks_one_by_one_and_ends() -> None:
    algorithm = make_algorithm(load_recipe("mnist-mlp"))
    stages = [algorithm.stage(index, 0) for index in range(5)]
    assert [list(s.objective) for s in stages if s] == [
        [100], [100, 70], [100, 70, 40], [100, 70, 40, 10],
    ]  # fmt: skip
    assert stages[4] is None and algorithm.stage_count == 4


def test_idp_trains_the_complete_network_only() -> None:
    algorithm = make_algorithm(load_recipe("mnist-mlp", ["algorithm=idp"]))
    stage = algorithm.stage(0, 0)
    assert stage and stage.objective == {100: 1.0} and algorithm.stage(1, 9) is None


def test_unknown_algorithm_and_profile(digits: DataSet, tmp_path: Path) -> None:
    for override, known in (("algorithm=x", "tesla, idp"), ("profile=x", "all-one, linear")):
        with pytest.raises(ConfigError, match=known):
            train(load_recipe("digits-mlp", [override]), digits, tmp_path)


def test_backward_is_the_gradient_of_the_aggregate() -> None:
    recipe = load_recipe("digits-mlp", ["tasks=[100, 70, 40, 10]"])
    network = build(recipe.network, (8, 8, 1), 10, "linear", 0)
    algorithm = make_algorithm(recipe)
    stage = algorithm.stage(3, 0)
    assert stage
    x, y = torch.rand(16, 8, 8, 1), torch.arange(16) % 10
    total = algorithm.backward(network, stage, x, y)
    found = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad()
    losses = []
    for dp in (100, 70, 40, 10):
        set_dp(network, dp)
        losses.append(F.cross_entropy(network(x), y))
    objective = losses[0]
    for loss in losses[1:]:
        objective = 0.5 * loss + 0.5 * objective
    objective.backward()
    assert total == pytest.approx(objective.item(), rel=1e-5)
    for gradient, parameter in zip(found, network.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(gradient, parameter.grad)


def test_early_stopping_waits_patience_and_restores_the_best(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objectives = iter([1.0, 0.5, 0.49999, 0.6, 0.6, 0.1])
    weights: list[torch.Tensor] = []

    def scripted(network: Network, split: object, dp: int) -> Measure:
        weights.append(network.state_dict()["body.fc1.weight"].clone())
        return Measure(next(objectives), np.zeros(1, np.bool_))

    monkeypatch.setattr(loop, "measure", scripted)
    changes = ["algorithm=idp", "patience=3", "max_epochs=50", "min_gain=1e-4", "hidden=[12]"]
    events: list[EpochDone] = []
    recipe = load_recipe("digits-mlp", [*TINY, *changes])
    result = train(recipe, digits, tmp_path, events.append)
    assert result.epochs == 5, "0.49999 is no gain of 1e-4"
    assert [event.improved for event in events] == [True, True, False, False, False]
    assert torch.equal(result.network.state_dict()["body.fc1.weight"], weights[1])
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def train_killed_at(
    recipe: Recipe, data: DataSet, folder: Path, moments: tuple[int, ...], saving: bool
) -> tuple[bytes, int]:
    """Train with a kill at these epochs, counted over all attempts, before or after saving."""
    done, killed = 0, set()

    def count(event: object = None) -> None:
        nonlocal done
        done += 1
        if done in moments and done not in killed:
            killed.add(done)
            raise Killed

    real = loop.RunState.save
    with pytest.MonkeyPatch.context() as patch:
        if saving:
            patch.setattr(loop.RunState, "save", lambda *a: (count(), real(*a))[1])
        while True:
            try:
                result = train(recipe, data, folder, None if saving else count)
            except Killed:
                continue
            return result.path.read_bytes(), done


@pytest.mark.parametrize("saving", [False, True])
@pytest.mark.parametrize("moments", [(1,), (2,), (3,), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_killed_runs_end_with_the_same_bits(
    digits: DataSet, tmp_path: Path, name: str, moments: tuple[int, ...], saving: bool
) -> None:
    recipe = load_recipe(name, TINY if name == "digits-mlp" else TINY_CNN)
    whole = train(recipe, digits, tmp_path / "whole").path.read_bytes()
    parts, epochs = train_killed_at(recipe, digits, tmp_path / "parts", moments, saving)
    assert parts == whole
    assert epochs == 4 + (sum(m <= epochs for m in moments) if saving else 0)


def test_sigkill_in_the_middle_of_an_epoch(digits: DataSet, tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
from pathlib import Path
from tesla_embed.data import load_data
from tesla_embed.train import algorithms, loop, recipe
from tesla_embed.train.algorithms.base import Algorithm
real, calls = Algorithm.backward, []
def backward(self, *arguments):
    calls.append(1)
    if len(calls) == 14:  # batches are 6 an epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *arguments)
Algorithm.backward = backward
loop.train(recipe.load_recipe("digits-mlp", {TINY!r}), load_data("digits"), Path(sys.argv[1]))
"""
    folder = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert {entry.name for entry in folder.iterdir()} == {loop.CHECKPOINT_NAME, LOG_NAME}
    recipe = load_recipe("digits-mlp", TINY)
    events: list[EpochDone] = []
    resumed = train(recipe, digits, folder, events.append).path.read_bytes()
    assert len(events) == 2, "two of four epochs were done"
    assert resumed == train(recipe, digits, tmp_path / "whole").path.read_bytes()


def test_a_finished_run_is_not_trained_again(
    recipe: Recipe, digits: DataSet, tmp_path: Path
) -> None:
    first = train(recipe, digits, tmp_path).path
    content = first.read_bytes()
    first.unlink()
    events: list[EpochDone] = []
    assert train(recipe, digits, tmp_path, events.append).path.read_bytes() == content
    assert not events


def test_state_of_another_recipe_or_other_data(
    recipe: Recipe, digits: DataSet, tmp_path: Path
) -> None:
    train(recipe, digits, tmp_path)
    before = (tmp_path / loop.CHECKPOINT_NAME).read_bytes()
    with pytest.raises(ConfigError, match=r"another recipe; choose another --out or delete it"):
        train(load_recipe("digits-mlp", [*TINY, "seed=9"]), digits, tmp_path)
    swapped = DataSet("digits", digits.test, digits.train, 10)
    with pytest.raises(ConfigError, match="other data"):
        train(recipe, swapped, tmp_path)
    assert (tmp_path / loop.CHECKPOINT_NAME).read_bytes() == before


def test_damaged_state(recipe: Recipe, digits: DataSet, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(recipe, digits, tmp_path, lambda event: (_ for _ in ()).throw(Killed()))
    path = tmp_path / loop.CHECKPOINT_NAME
    content = path.read_bytes()
    for bad in (b"", content[:5], content[: len(content) // 2], content[:-1], b"\xff" * 999):
        path.write_bytes(bad)
        with pytest.raises(ConfigError, match="choose another --out or delete it"):
            train(recipe, digits, tmp_path)
    for old, new in (
        (b"tesla-embed/training/1", b"tesla-embed/training/9"),
        (b"best.body.fc1.weight", b"best.body.fc1.heavy!"),
        (b"network.body.fc1.bias", b"network.body.fc1.base"),
        (b"optimizer.0.exp_avg", b"optimizer.9.exp_avg"),
        (b'\\"stage\\":0', b'\\"stage\\":x'),
    ):
        assert old in content
        path.write_bytes(content.replace(old, new))
        with pytest.raises(ConfigError, match="choose another --out or delete it"):
            train(recipe, digits, tmp_path)


@pytest.fixture(scope="module")
def under_way(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """State of a run after the first of two epochs in the second of two stages."""
    folder = tmp_path_factory.mktemp("under_way")

    def stop(event: EpochDone) -> None:
        if (event.stage_index, event.epoch) == (1, 1):
            raise Killed

    with pytest.raises(Killed):
        train(load_recipe("digits-mlp", TINY), digits, folder, stop)
    return (folder / loop.CHECKPOINT_NAME).read_bytes()


def edited(state: bytes, counters: dict[str, object], tensors: Tensors) -> bytes:
    """A well-formed state with some values changed; tensors that are `None` are left out."""
    length = int.from_bytes(state[:8], "little")
    header = json.loads(json.loads(state[8 : 8 + length])["__metadata__"]["tesla-embed"])
    header["counters"] |= counters
    whole = safetensors.torch.load(state) | tensors
    kept = {name: value for name, value in whole.items() if value is not None}
    return safetensors.torch.save(kept, {"tesla-embed": json.dumps(header)})


BAD_COUNTERS: list[dict[str, object]] = [
    *({name: -1} for name in ("stage", "epoch", "epochs", "stale")),
    {"stage": 2},
    {"stage": 99},
    {"stage": 0},
    {"stage": True},
    {"epoch": 0},
    {"epoch": 2, "epochs": 4},
    {"epoch": 4},
    {"epochs": 1},
    {"epochs": 2**70},
    {"stale": 1},
    {"best": None},
    {"best": "low"},
    {"epoch": 0, "best": None},
]


@pytest.mark.parametrize("counters", BAD_COUNTERS, ids=str)
def test_counters_that_no_run_has(
    recipe: Recipe, digits: DataSet, tmp_path: Path, under_way: bytes, counters: dict[str, object]
) -> None:
    (tmp_path / loop.CHECKPOINT_NAME).write_bytes(edited(under_way, counters, {}))
    with pytest.raises(ConfigError, match="choose another --out or delete it") as caught:
        train(recipe, digits, tmp_path)
    assert "\n" not in str(caught.value)


OF_BIAS = torch.full((12,), 0.5)
BAD_TENSORS: list[Tensors] = [
    {"optimizer.1.exp_avg_sq": None},
    {"optimizer.1.exp_avg": None},
    {"optimizer.1.step": None},
    {f"optimizer.{n}.{key}": None for n in range(4) for key in ("step", "exp_avg", "exp_avg_sq")},
    {"optimizer.1.max_exp_avg_sq": OF_BIAS},
    {"optimizer.4.exp_avg": OF_BIAS},
    {"optimizer.01.exp_avg": OF_BIAS},
    {"optimizer.1.exp_avg": OF_BIAS.double()},
    {"optimizer.1.exp_avg_sq": OF_BIAS.half()},
    {"optimizer.1.exp_avg": OF_BIAS[:5].clone()},
    {"optimizer.1.exp_avg": OF_BIAS * torch.inf},
    {"optimizer.1.exp_avg_sq": -OF_BIAS},
    {"optimizer.1.step": torch.tensor([6.0])},
    {"optimizer.1.step": torch.tensor(6)},
    {"optimizer.1.step": torch.tensor(7.0)},
    {f"optimizer.{n}.step": torch.tensor(-1.0) for n in range(4)},
    {"best.body.fc1.bias": None},
    {"network.body.fc1.bias": OF_BIAS.double()},
    {"network.body.fc1.bias": OF_BIAS.to(torch.float8_e4m3fn)},
    {"elsewhere.body.fc1.bias": OF_BIAS},
]


@pytest.mark.parametrize("tensors", BAD_TENSORS, ids=lambda bad: "_".join(bad)[:40])
def test_tensors_that_no_run_has(
    recipe: Recipe, digits: DataSet, tmp_path: Path, under_way: bytes, tensors: Tensors
) -> None:
    (tmp_path / loop.CHECKPOINT_NAME).write_bytes(edited(under_way, {}, tensors))
    with pytest.raises(ConfigError, match="choose another --out or delete it") as caught:
        train(recipe, digits, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_state_written_again_is_continued(
    recipe: Recipe, digits: DataSet, tmp_path: Path, under_way: bytes
) -> None:
    (tmp_path / loop.CHECKPOINT_NAME).write_bytes(edited(under_way, {}, {}))
    events: list[EpochDone] = []
    resumed = train(recipe, digits, tmp_path, events.append).path.read_bytes()
    assert len(events) == 1
    assert resumed == train(recipe, digits, tmp_path / "whole").path.read_bytes()


def test_networks_too_large_for_models_are_not_trained(tmp_path: Path) -> None:
    y = np.arange(20) % 2
    split = Split(np.zeros((20, 300, 300, 1), np.uint8), y)
    recipe = load_recipe("digits-mlp", ["hidden=[1]", "scalable=[true]"])
    with pytest.raises(ConfigError, match=r"90000.* shrink it"):
        train(recipe, DataSet("npz:large", split, split, 2), tmp_path)
    assert not list(tmp_path.iterdir())


def test_loss_that_is_not_finite(tmp_path: Path) -> None:
    y = np.arange(60) % 3
    split = Split(np.full((60, 64), 3e38, np.float32) * (y[:, None] - 1), y)
    recipe = load_recipe("digits-mlp", TINY)
    with pytest.raises(ConfigError, match=r"stage 100 % DP; lower optimizer\.learning_rate"):
        train(recipe, DataSet("npz:huge", split, split, 3), tmp_path)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(recipe: Recipe, digits: DataSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose another place"):
        train(recipe, digits, tmp_path / "file")


def test_training_leaves_global_state_alone(
    recipe: Recipe, digits: DataSet, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    want = torch.rand(1)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        train(recipe, digits, tmp_path)
        assert torch.equal(torch.rand(1), want) and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_evaluate_counts_right_answers_and_macs(digits: DataSet) -> None:
    recipe = load_recipe("digits-mlp", TINY)
    network = build(recipe.network, (8, 8, 1), 10, "linear", 0)
    found = evaluate(network, digits.test, (50, 100))
    set_dp(network, 50)
    with torch.no_grad():
        guess = network(torch.from_numpy(digits.test.floats())).argmax(1).numpy()
    assert found.accuracy[50] == np.mean(guess == digits.test.y)
    assert found.macs == {50: 64 * 6 + 6 * 10, 100: 64 * 12 + 12 * 10}
    assert found.full_macs == found.macs[100]
    with pytest.raises(ConfigError, match="shape"):
        evaluate(build(recipe.network, (7,), 10, "linear", 0), digits.test, (50,))
    with pytest.raises(ConfigError, match="label 9"):
        evaluate(build(recipe.network, (8, 8, 1), 5, "linear", 0), digits.test, (50,))


def test_tesla_beats_idp_at_low_percentages(digits: DataSet, tmp_path: Path) -> None:
    means = {}
    for algorithm in ("tesla", "idp"):
        changes = ["hidden=[40]", "scalable=[true]", "max_epochs=15", f"algorithm={algorithm}"]
        recipe = load_recipe("digits-mlp", [*changes, "tasks=[100, 40, 10]"])
        network = train(recipe, digits, tmp_path / algorithm).network
        means[algorithm] = evaluate(network, digits.test, (10, 20, 30)).mean_accuracy
    assert means["tesla"] > means["idp"] + 0.1
