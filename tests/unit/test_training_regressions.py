"""One test for every fault that was found in training and what surrounds it."""

import random
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from modules import KINDS
from small_networks import DIGITS_SHAPE, batch, small

from tesla_embed.data import DataSet, Split, load_data
from tesla_embed.errors import ConfigError
from tesla_embed.nn.cam import activation_maps
from tesla_embed.nn.layers import set_dp, set_widths
from tesla_embed.nn.networks import Network, build
from tesla_embed.nn.norm import IncompleteBatchNorm, norms
from tesla_embed.nn.profiles import clip_profiles, release_profiles, trainable_profiles
from tesla_embed.nn.scalable import channel_groups, make_scalable
from tesla_embed.train import loop
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.initial import load_initial
from tesla_embed.train.parallel import Workers, choose_device
from tesla_embed.train.recipe import load_recipe


def test_maps_are_those_of_the_network_that_serves_the_percentage() -> None:
    changes = ["channels=[6]", "pool_sizes=[1]", "channels_scalable=[true]", "algorithm=individual"]
    recipe = load_recipe("digits-cnn", [*changes, "individual.regions=[50, 100]"])
    network = build(recipe.network, DIGITS_SHAPE, 10, "all-one", 0)
    make_algorithm(recipe).prepare(network)
    images = batch(3)[0].numpy()
    for dp in (50, 100, 50):
        set_dp(network, dp)
        scores = network.eval()(torch.from_numpy(images)).detach().max(1).values
        found = activation_maps(network, images, dp)
        np.testing.assert_allclose(found.scores, scores.numpy(), rtol=1e-6)


def test_custom_widths_never_meet_statistics_of_absent_channels() -> None:
    network = build(load_recipe("cifar10-resnet8").network, (8, 8, 1), 3, "all-one", 0)
    for layer in norms(network):
        for row, dp in enumerate(layer.rows):
            layer.variances[row, : layer.source.width(dp)] = 2.0
            layer.batches[row] = 1
    groups = [group for group in channel_groups(network).values() if group.scalable]
    set_widths(network, {group.name: group.size if i == 0 else 1 for i, group in enumerate(groups)})
    for layer in norms(network):
        row = layer.row(layer.dp, layer.source.active)
        assert (layer.variances[row, : layer.source.active] == 2.0).all()


def test_parameters_without_gradients_stay_without_under_torchrun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor)
    monkeypatch.setattr("torch.distributed.get_backend", lambda: "gloo")
    layers = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    layers[0](torch.ones(1, 2)).sum().backward()
    Workers(0, 2).average_gradients(layers, 0.5)
    assert all(p.grad is not None for p in layers[0].parameters())
    assert all(p.grad is None for p in layers[1].parameters())


def test_initial_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    network = build(load_recipe("cifar10-resnet8").network, (8, 8, 1), 3, "linear", 0)
    path = tmp_path / "foreign.safetensors"
    names = ("features.0.weight", "features.1.running_mean", "features.1.running_var")
    foreign = {name: torch.ones(16) for name in names}
    foreign["features.1.num_batches_tracked"] = torch.tensor(3)
    safetensors.torch.save_file(foreign, path)
    with pytest.raises(ConfigError, match=r"nothing in .* fits this network"):
        load_initial(network, path)
    safetensors.torch.save_file({"body.classifier.bias": torch.tensor([1, torch.nan, 2])}, path)
    with pytest.raises(ConfigError, match=r"classifier\.bias .* holds NaN"):
        load_initial(network, path)


@pytest.mark.parametrize("kind", KINDS)
def test_profiles_are_clipped_part_by_part(kind: str) -> None:
    body = make_scalable(KINDS[kind](random.Random(5)), torch.zeros(2, 3, 8, 8), profile="linear")
    release_profiles(body)
    before = [gamma.detach().clone() for gamma in trainable_profiles(body)]
    clip_profiles(body)
    assert before
    for old, gamma in zip(before, trainable_profiles(body), strict=True):
        assert torch.equal(old, gamma), "linear profiles fall within each part already"
    with torch.no_grad():
        for gamma in trainable_profiles(body):
            gamma.add_(torch.linspace(-0.1, 0.1, len(gamma)))
    clip_profiles(body)
    for layer in (
        m for m in body.modules() if isinstance(getattr(m, "profile", None), torch.Tensor)
    ):
        gamma, covered = layer.profile.detach(), torch.zeros(len(layer.profile))
        for part in layer.own:
            assert (gamma[part].diff() <= 0).all()
            covered[part] = 1
        assert (gamma[covered == 0] == 1).all(), "not this layer's to learn"


def test_batch_norm_sees_all_classes_of_sorted_data() -> None:
    y = np.repeat(np.arange(4), 100)
    split = Split(y[:, None].astype(np.float32), y)
    recipe = load_recipe("cifar10-resnet8", ["batch_norm.samples=40"])
    run = loop._Run(  # type: ignore[arg-type]
        algorithm=None,
        state=type("State", (), {"recipe": recipe}),
        training=split,
        validation=split,
        workers=Workers(),
        device=torch.device("cpu"),
        pressure=None,
    )
    seen = torch.cat(list(loop._samples(run))).flatten()
    assert np.bincount(seen.int().numpy()).min() >= 9


def test_a_run_goes_on_with_as_many_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_data("digits")
    data = DataSet("digits", whole.train.subset(slice(300)), whole.test.subset(slice(50)), 10)
    loop.train(small("tesla"), data, tmp_path)
    real = loop.RunState

    def elsewhere(*arguments: object) -> loop.RunState:
        return real(*arguments[:-1], "2 x cuda")  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "RunState", elsewhere)
    with pytest.raises(ConfigError, match="belongs to a run on 1 x cpu, this is 2 x cuda"):
        loop.train(small("tesla"), data, tmp_path)


def test_ranges_of_multiple_profiles_follow_rounded_widths() -> None:
    recipe = small("mp-idp", "hidden=[10]", "network.multiple=4", "ranges=[30, 100]",
                   'profiles=["all-one", "harmonic"]')  # fmt: skip
    network = build(recipe.network, DIGITS_SHAPE, 10, recipe.profile, 0)
    make_algorithm(recipe).prepare(network)
    assert isinstance(network, Network) and not norms(network)
    (gamma, *_) = (m.profile for m in network.modules() if getattr(m, "profile", None) is not None)
    assert gamma.tolist() == pytest.approx([1, 1, 1, 1, *(1 / i for i in range(5, 11))])


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match=r"device=cuda needs CUDA, .* use device=cpu"):
        choose_device("cuda")


def test_a_row_of_statistics_is_chosen_by_percentage_first() -> None:
    layer = norms(build(load_recipe("cifar10-resnet8").network, (8, 8, 1), 3, "all-one", 0))[0]
    assert isinstance(layer, IncompleteBatchNorm)
    layer.batches[:] = 1
    assert [layer.rows[layer.row(dp, layer.source.width(dp))] for dp in (1, 5, 33, 100)] == [
        5, 5, 35, 100,
    ]  # fmt: skip
