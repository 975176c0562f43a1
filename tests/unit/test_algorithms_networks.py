"""Every algorithm trains every kind of network: residual, depthwise, batch norm, dropout."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tesla_embed.data import DataSet, Split, load_data
from tesla_embed.errors import ConfigError
from tesla_embed.nn.layers import ScalableLayer, set_dp
from tesla_embed.train.algorithms import ALGORITHMS, make_algorithm
from tesla_embed.train.checkpoint import load_checkpoint
from tesla_embed.train.evaluate import evaluate
from tesla_embed.train.loop import EpochDone, train
from tesla_embed.train.recipe import Recipe, load_recipe

SHORT = [
    "max_epochs=1", "batch=100", "weight_decay=0", "budget.epochs=1", "max_epoch=1",
    "individual.regions=[20, 50, 100]", "batch_norm.samples=100", "batch_norm.rows=[20, 50, 100]",
    "tasks=[100, 50]", "ranges=[30, 100]", "smallest=20", "threads=1",
]  # fmt: skip
NETWORKS = {
    "cifar10-resnet8": ["network.width=0.25"],
    "kws-dscnn": ["kernel=[3, 3]", "padding=[1, 1]"],
    "ad-autoencoder": [],
}


class Killed(Exception):
    pass


def short(network: str, algorithm: str, *changes: str) -> Recipe:
    changes = (*NETWORKS[network], *SHORT, f"algorithm={algorithm}", *changes)
    return load_recipe(network, changes)


def few_digits(network: str) -> DataSet:
    whole = load_data("digits")
    train_, test = whole.train.subset(slice(300)), whole.test.subset(slice(100))
    if network == "ad-autoencoder":
        train_, test = (Split(s.floats().reshape(len(s), -1), s.y.copy()) for s in (train_, test))
    return DataSet("digits", train_, test, 10)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("network", NETWORKS)
def test_train_resume_and_load(network: str, algorithm: str, tmp_path: Path) -> None:
    data, recipe = few_digits(network), short(network, algorithm)
    whole = train(recipe, data, tmp_path / "whole")

    def kill(event: EpochDone) -> None:
        raise Killed

    for _ in range(make_algorithm(recipe).stage_count):
        try:
            train(recipe, data, tmp_path / "parts", kill)
        except Killed:
            continue
    parts = train(recipe, data, tmp_path / "parts")
    assert parts.path.read_bytes() == whole.path.read_bytes()
    loaded = load_checkpoint(whole.path).network
    want, found = (evaluate(net, data.test, (20, 35, 100)) for net in (whole.network, loaded))
    assert (want.accuracy, want.macs) == (found.accuracy, found.macs)
    assert want.macs[20] < want.macs[35] < want.macs[100]


@pytest.mark.parametrize("mode", ["recalibrate", "separate"])
def test_multiple_profiles_freeze_batch_norm_too(mode: str, tmp_path: Path) -> None:
    data = few_digits("cifar10-resnet8")
    x = torch.from_numpy(data.test.floats(slice(0, 20)))
    answers = []
    for ranges in ("[20, 100]", "[20, 50, 100]"):
        changes = (f"ranges={ranges}", f"batch_norm.mode={mode}", "profile=linear")
        recipe = short("cifar10-resnet8", "mp-idp", *changes)
        network = train(recipe, data, tmp_path / ranges).network.eval()
        set_dp(network, 20)
        answers.append(network(x))
    assert torch.equal(*answers)


def test_multiple_profiles_refuse_weight_decay() -> None:
    with pytest.raises(ConfigError, match="add --set weight_decay=0"):
        make_algorithm(short("cifar10-resnet8", "mp-idp", "weight_decay=1e-4"))


def test_individual_refuses_initial_weights(tmp_path: Path) -> None:
    data = few_digits("ad-autoencoder")
    safetensors.torch.save_file({"x": torch.ones(1)}, tmp_path / "some.safetensors")
    with pytest.raises(ConfigError, match="draws its own weights; leave --init out"):
        recipe = short("ad-autoencoder", "individual")
        train(recipe, data, tmp_path, initial=tmp_path / "some.safetensors")


def test_profiles_after_batch_norm_are_learnt(tmp_path: Path) -> None:
    recipe = short("cifar10-resnet8", "tesla", "profile=trainable", "learning_rate=0.01")
    network = train(recipe, few_digits("cifar10-resnet8"), tmp_path).network
    layers = [m for m in network.modules() if isinstance(m, ScalableLayer)]
    profiles = [layer.profile.detach().numpy() for layer in layers if layer.profile is not None]
    assert profiles
    for gamma in profiles:
        assert (np.diff(gamma) <= 0).all() and (gamma >= 0).all() and gamma.min() < 1
