"""Every training algorithm: what it minimises, what it leaves alone, and that it can resume."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import DEEP, batch, network_for, small

from tesla_embed.data import DataSet, Split, load_data
from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.copies import plain_at
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import IncompleteLayer, IncompleteLinear, set_dp
from tesla_embed.nn.profiles import clip_profile, make_profile, trainable_profiles
from tesla_embed.train import loop
from tesla_embed.train.algorithms import ALGORITHMS, find_algorithm, make_algorithm
from tesla_embed.train.algorithms.r_tesla import RandomizedTesla
from tesla_embed.train.algorithms.tesla import aggregate
from tesla_embed.train.algorithms.universal import Universal
from tesla_embed.train.atp import update
from tesla_embed.train.checkpoint import load_checkpoint
from tesla_embed.train.evaluate import evaluate
from tesla_embed.train.loop import train
from tesla_embed.train.optimizer import make_optimizer
from tesla_embed.train.recipe import Recipe, load_recipe


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits")


class Killed(Exception):
    pass


# --- every algorithm ---------------------------------------------------------------------------

VARIANTS = [(name, "linear") for name in ALGORITHMS] + [
    ("tesla", "trainable"), ("r-tesla", "trainable"), ("universal", "trainable"),
]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "profile"), VARIANTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_runs_killed_after_random_epochs_end_with_the_same_bits(
    digits: DataSet, tmp_path: Path, algorithm: str, profile: str, seed: int
) -> None:
    recipe = small(algorithm, f"profile={profile}", f"seed={seed}")
    whole = train(recipe, digits, tmp_path / "whole")
    rng = np.random.default_rng(seed)

    def maybe(event: object) -> None:
        if rng.random() < 0.6:
            raise Killed

    for _ in range(200):
        try:
            parts = train(recipe, digits, tmp_path / "parts", maybe)
            break
        except Killed:
            continue
    assert parts.path.read_bytes() == whole.path.read_bytes()
    assert parts.epochs == whole.epochs


@pytest.mark.parametrize(("algorithm", "profile"), VARIANTS)
def test_checkpoints_come_back_and_export_or_say_why_not(
    digits: DataSet, tmp_path: Path, algorithm: str, profile: str
) -> None:
    result = train(small(algorithm, f"profile={profile}"), digits, tmp_path)
    loaded = load_checkpoint(result.path).network
    dps = (10, 40, 100)
    want, found = (evaluate(net, digits.test, dps) for net in (result.network, loaded))
    assert (want.accuracy, want.macs) == (found.accuracy, found.macs)
    if algorithm in ("mp-idp", "individual"):
        with pytest.raises(UnsupportedOp, match=r"copies of body.*one per DP range"):
            to_model(loaded, "net", dps)
    else:
        assert len(to_model(loaded, "net", dps).regions) == 3
        assert want.macs[10] < want.macs[40] < want.macs[100] == want.full_macs


def test_unknown_names_list_what_exists() -> None:
    with pytest.raises(ConfigError, match="tesla, idp, r-tesla, mp-idp, universal, individual"):
        find_algorithm("nothing")
    with pytest.raises(ConfigError, match="half-exponential, step, trainable"):
        make_profile("nothing", 3)


@pytest.mark.parametrize("algorithm", ["mp-idp", "individual"])
def test_profiles_that_cannot_be_trained(digits: DataSet, tmp_path: Path, algorithm: str) -> None:
    with pytest.raises(ConfigError, match="cannot train its profile; choose one of tesla, idp"):
        train(small(algorithm, "profile=trainable"), digits, tmp_path)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_loss_that_is_not_finite_names_the_stage(tmp_path: Path, algorithm: str) -> None:
    y = np.arange(60) % 3
    split = Split(np.full((60, 64), 3e38, np.float32) * (y[:, None] - 1), y)
    with pytest.raises(ConfigError, match=r"of stage .* % DP; lower optimizer\.learning_rate"):
        train(small(algorithm), DataSet("npz:huge", split, split, 3), tmp_path)
    assert not list(tmp_path.iterdir())


def test_data_of_another_shape(digits: DataSet, tmp_path: Path) -> None:
    network = train(small("individual"), digits, tmp_path).network
    wrong = Split(np.zeros((4, 7, 7, 1), np.uint8), np.zeros(4, np.int64))
    with pytest.raises(ConfigError, match="shape"):
        evaluate(network, wrong, (50,))


# --- TESLA and R-TESLA --------------------------------------------------------------------------


@given(
    tasks=st.lists(st.sampled_from([10, 40, 70, 100]), min_size=1, max_size=12),
    alpha=st.floats(0.01, 0.99),
    losses=st.lists(st.floats(0, 10), min_size=4, max_size=4),
)
def test_aggregate_is_equation_3_for_repeated_tasks(
    tasks: list[int], alpha: float, losses: list[float]
) -> None:
    loss = dict(zip((10, 40, 70, 100), losses, strict=True))
    objective = loss[tasks[0]]
    for task in tasks[1:]:
        objective = alpha * loss[task] + (1 - alpha) * objective
    coefficients = aggregate(tasks, alpha)
    assert sum(coefficients.values()) == pytest.approx(1)
    assert sum(c * loss[dp] for dp, c in coefficients.items()) == pytest.approx(objective)


def draws(recipe: Recipe, indices: Sequence[int]) -> list[int]:
    algorithm = make_algorithm(recipe)
    assert isinstance(algorithm, RandomizedTesla)
    return [algorithm.task(index) for index in indices]


@pytest.mark.parametrize(
    ("changes", "shares"),
    [
        ((), {100: 0.25, 70: 0.25, 40: 0.25, 10: 0.25}),
        (("weights=[1, 0, 2, 5]",), {100: 0.125, 40: 0.25, 10: 0.625}),
        (("r_tesla.regions=[30, 90]", "weights=[3, 1]"), {30: 0.75, 90: 0.25}),
    ],
)
def test_tasks_follow_the_distribution(changes: tuple[str, ...], shares: dict[int, float]) -> None:
    counts: Counter[int] = Counter()
    for seed in range(100):
        override = ["algorithm=r-tesla", f"seed={seed}", *changes]
        recipe = load_recipe("mnist-mlp", override)
        counts.update(draws(recipe, range(4, 14)))  # after the opening round
    assert counts.keys() == shares.keys()
    chi2 = sum((counts[dp] - 1000 * share) ** 2 / (1000 * share) for dp, share in shares.items())
    assert chi2 < 16.3, "the 99.9 % quantile for three degrees of freedom"


@pytest.mark.parametrize("regions", ["[100, 70, 40, 10]", "[90, 30]", "[100]"])
@pytest.mark.parametrize("seed", range(5))
def test_without_weights_every_round_has_each_task_once(regions: str, seed: int) -> None:
    changes = ["algorithm=r-tesla", f"seed={seed}", f"r_tesla.regions={regions}"]
    recipe = load_recipe("mnist-mlp", changes)
    tasks = sorted(recipe.r_tesla.regions)
    first, *found = draws(recipe, range(13))
    assert first == 100
    start = len(set(tasks) - {100})
    assert sorted({*found[:start], *({100} & set(tasks))}) == tasks
    for begin in range(start, 12 - len(tasks), len(tasks)):
        assert sorted(found[begin : begin + len(tasks)]) == tasks


def test_tasks_follow_from_seed_and_index_alone() -> None:
    recipe = load_recipe("mnist-mlp", ["algorithm=r-tesla", "seed=5"])
    forward, backward = draws(recipe, range(20)), draws(recipe, range(19, -1, -1))
    assert forward == backward[::-1] and forward[0] == 100
    assert forward != draws(load_recipe("mnist-mlp", ["algorithm=r-tesla", "seed=6"]), range(20))


def test_r_tesla_ends_after_max_epoch() -> None:
    algorithm = make_algorithm(load_recipe("mnist-mlp", ["algorithm=r-tesla"]))
    assert algorithm.stage(0, 0) and algorithm.stage(9, 50)
    assert algorithm.stage(10, 51) is None
    longest = list(itertools.takewhile(lambda i: algorithm.stage(i, 5 * i), itertools.count()))
    assert len(longest) <= algorithm.stage_count


@pytest.mark.parametrize("keep", ["best", "last"])
def test_r_tesla_keeps_the_stage_that_serves_all_tasks(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    ends: list[torch.Tensor] = []
    goals = iter([0.5, 0.3, 0.4, 0.2, 0.9, 0.8, 0.7])
    real = loop.RunState.finish_stage
    choose = loop.RunState.choose

    def finish(state: loop.RunState) -> None:
        real(state)
        ends.append(state.network.state_dict()["body.fc1.weight"].clone())

    monkeypatch.setattr(loop.RunState, "finish_stage", finish)
    monkeypatch.setattr(loop.RunState, "choose", lambda state, _: choose(state, next(goals)))
    changes = [f"keep={keep}", "max_epochs=1", "max_epoch=5", "weights=[3, 1]"]
    recipe = small("r-tesla", *changes)
    network = train(recipe, digits, tmp_path).network
    assert len(ends) == 6
    assert torch.equal(network.state_dict()["body.fc1.weight"], ends[3 if keep == "best" else 5])
    goal = make_algorithm(recipe).goal()
    assert goal == ({100: 0.75, 30: 0.25} if keep == "best" else None)


# --- ATP ----------------------------------------------------------------------------------------


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=20))
def test_clipped_profiles_never_increase_and_are_not_negative(values: list[float]) -> None:
    gamma = torch.tensor(values)
    clip_profile(gamma)
    assert (gamma >= 0).all() and (gamma[1:] <= gamma[:-1]).all()
    assert (gamma <= torch.tensor(values).clamp(min=0)).all()
    again = gamma.clone()
    clip_profile(again)
    assert torch.equal(again, gamma)


def test_atp_alternates_between_weights_and_profiles() -> None:
    recipe = small("tesla", "profile=trainable", "learning_rate=0.01")
    network, algorithm = network_for(recipe), make_algorithm(recipe)
    (gamma,) = trainable_profiles(network)
    assert gamma.tolist() == [1.0] * 12
    optimizer = make_optimizer(recipe.optimizer, network)
    rates = [(len(group["params"]), group["lr"]) for group in optimizer.param_groups]
    assert rates == [(2, 0.01), (2, 0.01), (1, 0.005)]
    order: list[str] = []

    def note(*_: object) -> None:
        both = (any(p.grad is not None for p in network.parameters() if p is not gamma),
                gamma.grad is not None)  # fmt: skip
        order.append({(True, False): "weights", (False, True): "profile"}[both])

    optimizer.register_step_pre_hook(note)
    stage = algorithm.stage(0, 0)
    assert stage
    for _ in range(3):
        update(network, optimizer, lambda: algorithm.backward(network, stage, *batch()))
    assert order == ["weights", "profile"] * 3
    found = gamma.detach()
    assert found.min() < 1 and (found[1:] <= found[:-1]).all() and (found >= 0).all()


def test_learnt_profiles_are_kept_and_folded(digits: DataSet, tmp_path: Path) -> None:
    result = train(small("r-tesla", "profile=trainable"), digits, tmp_path)
    loaded = load_checkpoint(result.path).network
    (gamma,) = (m.profile for m in loaded.modules() if getattr(m, "profile", None) is not None)
    assert gamma.min() < 1 and (gamma[1:] <= gamma[:-1]).all() and (gamma >= 0).all()
    layer = next(m for m in loaded.modules() if getattr(m, "profile", None) is not None)
    assert isinstance(layer, IncompleteLinear)
    op = to_model(loaded, "net", (100,)).graph.ops[-1]
    folded = (layer.weight * gamma).detach().numpy()
    np.testing.assert_allclose(op.weights.data, folded, rtol=1e-6)  # type: ignore[union-attr]


# --- universal ----------------------------------------------------------------------------------


def test_universal_is_the_sandwich_rule_with_a_detached_teacher() -> None:
    recipe = small("universal", "smallest=20", "seed=3")
    network, algorithm = network_for(recipe), make_algorithm(recipe)
    assert isinstance(algorithm, Universal)
    stage = algorithm.stage(0, 0)
    assert stage and stage.epochs == 2
    x, y = batch()
    algorithm.backward(network, stage, x, y, step=7)
    found = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad()
    widths = algorithm.widths(7)
    assert widths[0] == 20 and len(widths) == 3
    set_dp(network, 100)
    with torch.no_grad():
        answers = network(x).softmax(1)  # no gradient can reach the teacher
    total = F.cross_entropy(network(x), y)
    for dp in widths:
        set_dp(network, dp)
        total = total - (answers * network(x).log_softmax(1)).sum(1).mean()
    (total / 4).backward()
    for gradient, parameter in zip(found, network.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(("scale", "low_half"), [("linear", 0.5), ("logarithmic", 0.69)])
def test_random_widths_cover_the_range_and_follow_the_step(scale: str, low_half: float) -> None:
    changes = ["smallest=20", "universal.random=3", f"scale={scale}"]
    algorithm = make_algorithm(small("universal", *changes))
    assert isinstance(algorithm, Universal)
    drawn = [dp for step in range(1000) for dp in algorithm.widths(step)[1:]]
    assert set(drawn) == set(range(20, 101)) and len(drawn) == 3000
    assert sum(dp <= 60 for dp in drawn) / 3000 == pytest.approx(low_half, abs=0.03)
    assert algorithm.widths(4) == algorithm.widths(4) != algorithm.widths(5)


def test_a_budget_ends_with_the_most_accurate_epoch(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = iter([(0.1, 0.5), (0.9, 0.8), (0.9, 0.7), (0.9, 0.8)])  # loss, accuracy
    weights: list[torch.Tensor] = []

    def validate(run: loop._Run, *_: object) -> tuple[float, float]:
        weights.append(run.state.network.state_dict()["body.fc1.weight"].clone())
        return next(scripted)

    monkeypatch.setattr(loop, "_validate", validate)
    network = train(small("universal", "budget.epochs=4"), digits, tmp_path).network
    assert torch.equal(network.state_dict()["body.fc1.weight"], weights[1])


def test_learning_rate_within_the_budget(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    real = loop.set_learning_rate

    def note(optimizer: torch.optim.Optimizer, rate: float) -> None:
        rates.append(rate)
        real(optimizer, rate)

    monkeypatch.setattr(loop, "set_learning_rate", note)
    recipe = small("universal", "budget.epochs=4", "peak=0.002", "learning_rate=0.001")
    assert train(recipe, digits, tmp_path).epochs == 4
    steps = len(rates)
    want = [0.001 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]
    assert rates == pytest.approx(want)


@settings(max_examples=10, deadline=None)
@given(algorithm=st.sampled_from(sorted(set(ALGORITHMS) - {"individual"})), seed=st.integers(0, 99))
def test_complete_network_with_ones_is_the_plain_network(algorithm: str, seed: int) -> None:
    network = network_for(small(algorithm, *DEEP, "profile=all-one", f"seed={seed}"))
    x, _ = batch()
    set_dp(network, 100)
    layers = [m for m in plain_at(network, 100).modules() if isinstance(m, IncompleteLayer)]
    h = x.flatten(1)
    for layer in layers[:-1]:
        h = F.relu(F.linear(h, layer.weight, layer.bias))
    assert torch.equal(network(x), F.linear(h, layers[-1].weight, layers[-1].bias))


@pytest.mark.parametrize("algorithm", ["mp-idp", "individual", "universal"])
def test_convolutional_networks(digits: DataSet, tmp_path: Path, algorithm: str) -> None:
    changes = [
        "channels=[8]", "pool_sizes=[2]", "channels_scalable=[true]", "max_epochs=1", "batch=256",
        "ranges=[50, 100]", "budget.epochs=1", "individual.regions=[50, 100]",
        f"algorithm={algorithm}",
    ]  # fmt: skip
    network = train(load_recipe("digits-cnn", changes), digits, tmp_path).network
    found = evaluate(network, digits.test, (50, 100))
    assert found.macs == {50: 4 * 9 * 64 + 4 * 16 * 10, 100: 8 * 9 * 64 + 8 * 16 * 10}
