"""Schedules, augmentation, logs, initial weights, precision, networks as recipes."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tesla_embed.data import DataSet, Split, load_data
from tesla_embed.errors import ConfigError, ToolchainError
from tesla_embed.nn.networks import assemble, build
from tesla_embed.nn.norm import norms
from tesla_embed.train.augment import make_augmenter
from tesla_embed.train.evaluate import anomaly_auc, evaluate, measure
from tesla_embed.train.initial import load_initial
from tesla_embed.train.log import COLUMNS, LOG_NAME, TrainingLog
from tesla_embed.train.loop import EpochDone, train
from tesla_embed.train.optimizer import learning_rate, make_optimizer
from tesla_embed.train.recipe import Augmentation, Optimizer, load_recipe

RESNET = [
    "network.width=0.25", "max_epochs=2", "tasks=[100, 50]", "batch=128", "validation=0.2",
    "batch_norm.samples=100", "batch_norm.rows=[50, 100]", "augmentation.crop=1",
]  # fmt: skip
MLP = ["hidden=[12]", "scalable=[true]", "max_epochs=2", "tasks=[100, 30]", "batch=128"]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def digits() -> DataSet:
    whole = load_data("digits")
    return DataSet("digits", whole.train.subset(slice(600)), whole.test.subset(slice(200)), 10)


def test_schedules() -> None:
    def rates(epochs: tuple[int, ...], *changes: str) -> list[float]:
        recipe = load_recipe("mnist-mlp", ["learning_rate=0.2", *changes])
        return [learning_rate(recipe, None, epoch) for epoch in epochs]

    cosine = rates((0, 2, 4), "schedule=cosine", "max_epochs=4")
    assert cosine == pytest.approx([0.2, 0.1, 0.0])
    step = rates((0, 2, 3, 6), "schedule=step", "step_epochs=3", "step_factor=0.5")
    assert step == pytest.approx([0.2, 0.2, 0.1, 0.05])
    assert rates((0, 7)) == [0.2, 0.2]


def test_weight_decay_spares_vectors() -> None:
    network = build(load_recipe("cifar10-resnet8").network, (8, 8, 1), 3, "linear", 0)
    optimizer = make_optimizer(Optimizer(method="sgd", weight_decay=0.1), network)
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    for name, parameter in network.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim > 1), name
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == len(list(network.parameters()))


def test_augmentation_follows_seed_epoch_and_example_alone() -> None:
    x = np.random.default_rng(0).random((20, 6, 5, 2), np.float32)
    options = Augmentation(crop=2, flip=True)
    made = make_augmenter(options, (6, 5, 2), 20, 3, 4)
    assert made is not None
    everything = made.apply(x, np.arange(20))
    some = np.array([7, 3, 11])
    assert np.array_equal(made.apply(x[some], some), everything[some])
    again = make_augmenter(options, (6, 5, 2), 20, 3, 4)
    assert again is not None and np.array_equal(again.apply(x, np.arange(20)), everything)
    later = make_augmenter(options, (6, 5, 2), 20, 3, 5)
    assert later is not None and not np.array_equal(later.apply(x, np.arange(20)), everything)
    for image, changed, (down, right), flip in zip(
        x, everything, made.shifts, made.flips, strict=True
    ):
        want = np.zeros((10, 9, 2), np.float32)
        want[2:8, 2:7] = image
        want = want[2 - down : 8 - down, 2 - right : 7 - right]
        assert np.array_equal(changed, want[:, ::-1] if flip else want)
    assert set(np.unique(made.shifts)) == {-2, -1, 0, 1, 2} and 0 < made.flips.sum() < 20
    assert make_augmenter(Augmentation(), (6, 5, 2), 20, 3, 4) is None
    with pytest.raises(ConfigError, match="augmentation needs images"):
        make_augmenter(options, (60,), 20, 3, 4)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG_NAME).open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(folder: Path) -> list[tuple[str, ...]]:
    return [tuple(v for k, v in row.items() if k != "seconds") for row in rows(folder)]


@pytest.mark.parametrize("mode", ["recalibrate", "separate"])
def test_killed_resnet_ends_with_the_same_bits_and_log(
    digits: DataSet, tmp_path: Path, mode: str
) -> None:
    changes = [
        *RESNET, f"batch_norm.mode={mode}", "method=sgd", "schedule=cosine", "weight_decay=1e-3",
    ]  # fmt: skip
    recipe = load_recipe("cifar10-resnet8", changes)
    whole = train(recipe, digits, tmp_path / "whole")
    assert all((layer.batches > 0).all() for layer in norms(whole.network))

    def stop(event: EpochDone) -> None:
        if event.stage_index == 1:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, digits, tmp_path / "parts", stop)
    log = tmp_path / "parts" / LOG_NAME
    log.write_text(log.read_text() + "4,20 % DP,1,0.1,1,1,0,1,9\n5,cut short")
    parts = train(recipe, digits, tmp_path / "parts")
    assert parts.path.read_bytes() == whole.path.read_bytes()
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "whole")
    assert [row["epochs"] for row in rows(tmp_path / "whole")] == ["1", "2", "3", "4"]


def test_dropout_follows_from_the_seed(digits: DataSet, tmp_path: Path) -> None:
    """Regression: masks came from the global generator, so every run ended with other bits."""
    changes = [
        "channels=4", "kernel=[3,3]", "padding=[1,1]", "dropout=0.3", "max_epochs=2",
        "tasks=[100, 50]", "validation=0.2", "batch_norm.rows=[50, 100]",
    ]  # fmt: skip
    recipe = load_recipe("kws-dscnn", changes)

    def stop(event: EpochDone) -> None:
        if event.epoch == 1:
            raise Killed

    torch.manual_seed(1)
    whole = train(recipe, digits, tmp_path / "whole").path.read_bytes()
    state = torch.get_rng_state()
    for _ in range(2):
        with pytest.raises(Killed):
            train(recipe, digits, tmp_path / "parts", stop)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert train(recipe, digits, tmp_path / "parts").path.read_bytes() == whole
    other = load_recipe("kws-dscnn", [*changes, "dropout=0.29"])
    weights = train(other, digits, tmp_path / "other").network.state_dict()
    first = safetensors.torch.load(whole)
    assert not torch.equal(weights["body.classifier.weight"], first["body.classifier.weight"])


def test_log_columns_and_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = TrainingLog(tmp_path / "new", 0)
    log.add(dict.fromkeys(COLUMNS, 1))
    assert [tuple(row) for row in rows(tmp_path / "new")] == [COLUMNS]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ToolchainError, match="pip install tensorboard"):
        TrainingLog(tmp_path, 0, tensorboard=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose another place"):
        TrainingLog(tmp_path / "file", 0).add(dict.fromkeys(COLUMNS, 1))


def test_initial_weights_from_checkpoints_and_plain_modules(
    digits: DataSet, tmp_path: Path
) -> None:
    recipe = load_recipe("cifar10-resnet8", RESNET)
    config = recipe.network
    plain = config.plain((8, 8, 1), 7).state_dict()
    plain = {name: torch.rand_like(v) if v.is_floating_point() else v for name, v in plain.items()}
    safetensors.torch.save_file(plain, tmp_path / "plain.safetensors")
    network = build(config, (8, 8, 1), 10, "linear", 0)
    unused = load_initial(network, tmp_path / "plain.safetensors")
    assert sorted(unused) == ["classifier.bias", "classifier.weight"], "another number of classes"
    assert torch.equal(network.state_dict()["body.conv.weight"], plain["conv.weight"])
    assert torch.equal(norms(network)[0].means[-1], plain["norm.running_mean"])
    first = train(recipe, digits, tmp_path / "first")
    copied = build(config, (8, 8, 1), 10, recipe.profile, 9, recipe.batch_norm)
    assert load_initial(copied, first.path) == ()
    x = torch.rand(3, 8, 8, 1)
    assert torch.equal(copied.eval()(x), first.network.eval()(x))
    train(recipe, digits, tmp_path / "second", initial=first.path)
    with pytest.raises(ConfigError, match="other initial weights"):
        train(recipe, digits, tmp_path / "second")
    for bad, word in (
        (tmp_path / "none", "check the path"),
        (tmp_path / "odd", "fits this network"),
    ):
        safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "odd")
        with pytest.raises(ConfigError, match=word):
            train(recipe, digits, tmp_path / "third", initial=bad)


def test_bfloat16_products_train_as_well(digits: DataSet, tmp_path: Path) -> None:
    losses: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for precision in losses:
        recipe = load_recipe("digits-mlp", [*MLP, f"precision={precision}"])
        train(recipe, digits, tmp_path / precision)
        losses[precision] = [float(row["loss"]) for row in rows(tmp_path / precision)]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


ZOO = [
    ("cifar10-vgg16", ["network.width=0.02"], (8, 8, 1)),
    ("cifar100-vgg16", ["network.width=0.02", "network.batch_norm=false"], (28, 28, 1)),
    ("cifar10-resnet8", ["network.width=0.25"], (28, 28, 1)),
    ("kws-dscnn", ["channels=8"], (49, 10, 1)),
    ("kws-dscnn", ["channels=8", "kernel=[3,3]", "padding=[1,1]"], (28, 28, 1)),
    ("vww-mobilenet", ["network.width=0.03", "stem_stride=1"], (32, 32, 3)),
    ("ad-autoencoder", ["hidden=[16, 4, 16]", "code=2"], (40,)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "shape"), ZOO)
def test_networks_as_recipes(
    name: str, changes: list[str], shape: tuple[int, ...], tmp_path: Path
) -> None:
    y = np.arange(24) % 2
    x = np.random.default_rng(0).random((24, *shape), np.float32)
    split = Split(x, y)
    recipe = load_recipe(name, [
        *changes, "max_epochs=1", "tasks=[100, 50]", "batch=8", "augmentation.crop=0",
        "augmentation.flip=false", "validation=0.25", "batch_norm.rows=[50, 100]",
    ])  # fmt: skip
    network = train(recipe, DataSet("npz:x", split, split, 2), tmp_path).network
    found = evaluate(network, split, (20, 50, 100))
    assert 0 < found.macs[20] < found.macs[50] < found.macs[100] == found.full_macs
    assert all(0 <= accuracy <= 1 for accuracy in found.accuracy.values())
    outputs = int(np.prod(shape)) if network.task == "reconstruct" else 2
    assert network(torch.from_numpy(x)).shape == (24, outputs)


FULL = [
    # Published counts hold four numbers for every channel of batch norm, two of them statistics,
    # and a bias before it that would change nothing: here three fewer are parameters.
    ("cifar10-resnet8", (32, 32, 3), 10, 12_501_632, 78_666),
    ("kws-dscnn", (49, 10, 1), 12, 2_656_768, 24_908),
    ("vww-mobilenet", (96, 96, 3), 2, 7_489_664, 221_794),
    ("ad-autoencoder", (640,), 2, 264_192, 269_992),
    ("cifar10-vgg16", (32, 32, 3), 10, 313_201_664, 14_736_714),
]


@pytest.mark.parametrize(("name", "shape", "classes", "macs", "parameters"), FULL)
def test_published_sizes(
    name: str, shape: tuple[int, ...], classes: int, macs: int, parameters: int
) -> None:
    from tesla_embed.nn.cost import count_macs

    with torch.device("meta"):
        network = assemble(load_recipe(name).network, shape, classes, "all-one")
        assert count_macs(network, 100) == macs
    fewer = sum(3 * layer.source.size for layer in norms(network))
    assert sum(p.numel() for p in network.parameters()) + fewer == parameters


def test_reconstruction_is_judged_by_explained_variance_and_auc() -> None:
    recipe = load_recipe("ad-autoencoder", ["hidden=[4]", "code=1"])
    network = build(recipe.network, (6,), 2, "all-one", 0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    x = np.array([[-1.0] * 6, [1.0] * 6, [3.0] * 6, [-3.0] * 6], np.float32)
    split = Split(x, np.array([0, 0, 1, 1]))
    assert measure(network, split, 100).accuracy == pytest.approx(0.0), "the mean explains nothing"
    assert anomaly_auc(network, split, 100) == 1.0
    assert anomaly_auc(network, Split(x, np.array([0, 1, 0, 1])), 100) == 0.5
    with pytest.raises(ConfigError, match="label 0 and with label 1"):
        anomaly_auc(network, Split(x, np.zeros(4, np.int64)), 100)
