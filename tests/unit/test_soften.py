"""Soft pruning: masks, what they weigh, and that training with them lets channels die."""

import math
from pathlib import Path

import pytest
import torch
from small_networks import DIGITS_SHAPE, SMALL

from tesla_embed.data import DataSet, load_data
from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.importance import dead_probability
from tesla_embed.nn.networks import Network, build
from tesla_embed.nn.norm import norms
from tesla_embed.nn.soften import SoftPruning, soften
from tesla_embed.train.loop import train
from tesla_embed.train.recipe import Recipe, load_recipe

OPTIONS = SoftPruning(strength=2.0, threshold=0.9, temperature=0.1)
DSCNN = ["kernel=[3, 3]", "padding=[1, 1]", "channels=6", "blocks=1", "dropout=0.0"]


def network(recipe: Recipe) -> Network:
    return build(recipe.network, DIGITS_SHAPE, 10, recipe.profile, 3, recipe.batch_norm)


def dscnn() -> Network:
    return network(load_recipe("kws-dscnn", DSCNN))


def test_a_mask_is_one_half_at_the_threshold_and_falls() -> None:
    made = dscnn()
    fade = soften(made, OPTIONS).layers[0].fade
    assert fade is not None
    at = 1.2815515655446004  # Φ(at) = 0.9
    shift = torch.tensor([2.0, 0.0, -at, -2 * at, -9.0], dtype=torch.float64)
    for sign in (1.0, -2.0):
        found = fade(torch.full_like(shift, sign), shift * abs(sign))
        dead = [0.5 * math.erfc(b / math.sqrt(2)) for b in shift.tolist()]
        want = [1 / (1 + math.exp((p - 0.9) / 0.1)) for p in dead]
        torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64))
        assert float(found[2]) == pytest.approx(0.5)
    assert fade(torch.zeros(2), torch.tensor([1.0, -1.0])).isfinite().all()


def test_masks_act_in_training_only() -> None:
    made, x = dscnn(), torch.rand(8, *DIGITS_SHAPE)
    before = made.eval()(x), made.train()(x)
    pressure = soften(made, OPTIONS)
    with torch.no_grad():
        after = made.eval()(x), made.train()(x)
    assert torch.equal(before[0], after[0]) and not torch.allclose(before[1], after[1], rtol=1e-4)
    pressure.release()
    assert torch.equal(made.train()(x), before[1])


def test_layers_weigh_what_they_cost() -> None:
    """Batch norm before an addition is left alone: a ReLU does not follow it directly."""
    made = network(load_recipe("cifar10-resnet8", ["width=0.25"]))
    pressure = soften(made, OPTIONS)
    chosen = [name for name, layer in made.body.named_modules() if layer in pressure.layers]
    assert chosen == ["norm", "block1.norm1", "block2.norm1", "block3.norm1"]
    costs = [64 * 9 * 1 * 4, 64 * 9 * 4 * 4, 16 * 9 * 4 * 8, 4 * 9 * 8 * 16]
    assert pressure.shares == pytest.approx([cost / sum(costs) for cost in costs])
    full = OPTIONS.strength / (1 + math.exp((0.5 - 0.9) / 0.1))  # shifts are zero at first
    assert pressure.loss().item() == pytest.approx(full)


def test_pressure_alone_lets_every_channel_die() -> None:
    made = dscnn()
    pressure = soften(made, OPTIONS)
    optimizer = torch.optim.Adam(made.parameters(), 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        pressure.add_gradients()
        optimizer.step()
    dead = dead_probability(made.body, torch.zeros(2, *DIGITS_SHAPE))
    assert min(float(values.min()) for values in dead.values()) > 0.95
    assert pressure.loss().item() < 0.5 * OPTIONS.strength


def test_no_strength_changes_nothing() -> None:
    made = dscnn()
    pressure = soften(made, SoftPruning())
    assert not pressure.layers and pressure.add_gradients() == 0.0
    assert all(norm.fade is None for norm in norms(made))


@pytest.fixture(scope="module")
def digits() -> DataSet:
    whole = load_data("digits")
    return DataSet("digits", whole.train.subset(slice(0, 200)), whole.test, whole.classes)


def test_training_counts_the_size_and_resumes(digits: DataSet, tmp_path: Path) -> None:
    changes = [*DSCNN, "algorithm=idp", "max_epochs=3", "learning_rate=0.05", "rows=[100]"]
    changes += ["batch=20"]
    plain = train(load_recipe("kws-dscnn", changes), digits, tmp_path / "plain").network
    recipe = load_recipe("kws-dscnn", [*changes, "soft_pruning.strength=5"])
    whole = train(recipe, digits, tmp_path / "whole")

    def kill(event: object) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(recipe, digits, tmp_path / "parts", kill)
    parts = train(recipe, digits, tmp_path / "parts")
    assert parts.path.read_bytes() == whole.path.read_bytes()
    example = torch.zeros(2, *DIGITS_SHAPE)
    mean = [
        float(torch.cat(list(dead_probability(n.body, example).values())).mean())
        for n in (plain, whole.network)
    ]
    assert mean[1] > mean[0] + 0.05
    assert all(norm.fade is None for norm in norms(whole.network))


def test_networks_that_cannot_fade(digits: DataSet, tmp_path: Path) -> None:
    mlp = load_recipe("digits-mlp", [*SMALL, "soft_pruning.strength=1"])
    with pytest.raises(ConfigError, match="needs batch norm before ReLU"):
        train(mlp, digits, tmp_path)
    several = load_recipe("kws-dscnn", [*DSCNN, "algorithm=mp-idp", "soft_pruning.strength=1"])
    with pytest.raises(UnsupportedOp, match="copies"):
        train(several, digits, tmp_path)
    assert not list(tmp_path.iterdir())
