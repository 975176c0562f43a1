"""Sorting and pruning checkpoints, as a library and on the command line."""

from pathlib import Path

import pytest
import torch
import typer
from small_networks import DIGITS_SHAPE, SMALL, small
from torch import Tensor
from typer.testing import CliRunner

from tesla_embed.data import DataSet, load_data
from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.cost import count_macs
from tesla_embed.nn.layers import channel_groups, set_dp, set_widths
from tesla_embed.nn.networks import build
from tesla_embed.nn.norm import norms, recalibrate
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.checkpoint import (
    Checkpoint,
    CheckpointInfo,
    load_checkpoint,
    save_checkpoint,
)
from tesla_embed.train.evaluate import evaluate
from tesla_embed.train.loop import train
from tesla_embed.train.prune import prune_checkpoint, sort_checkpoint
from tesla_embed.train.recipe import Recipe, load_recipe
from tesla_host.cli.prune import prune, sort

CERTAIN = 1 - 1e-9
"""Only channels that a test has killed are that dead."""
RECIPES = {
    "residual": ("cifar10-resnet8", ["width=0.5", "rows=[25, 50, 100]", "augmentation.crop=0"]),
    "depthwise": (
        "kws-dscnn",
        ["kernel=[3, 3]", "padding=[1, 1]", "channels=8", "blocks=2", "rows=[25, 50, 100]"],
    ),
}


@pytest.fixture(scope="module")
def digits() -> DataSet:
    whole = load_data("digits")
    train_, test = (split.subset(slice(0, 300)) for split in (whole.train, whole.test))
    return DataSet("digits", train_, test, whole.classes)


def untrained(recipe: Recipe) -> Checkpoint:
    """Random weights, and batch norm as if it had been trained."""
    network = build(recipe.network, DIGITS_SHAPE, 10, recipe.profile, 5, recipe.batch_norm)
    make_algorithm(recipe).prepare(network)
    generator = torch.Generator().manual_seed(6)
    for norm in norms(network):
        assert norm.weight is not None and norm.bias is not None
        norm.weight.data.uniform_(0.5, 1.5, generator=generator)
        norm.weight.data[::3] *= -1
        norm.bias.data.normal_(generator=generator)
    x = torch.rand(64, *DIGITS_SHAPE, generator=generator)
    recalibrate(network, lambda: [x], recipe.batch_norm.rows)
    set_dp(network, 100)
    info = CheckpointInfo(recipe=recipe, input_shape=DIGITS_SHAPE, classes=10, data="digits")
    return Checkpoint(network.eval(), info)


@pytest.fixture(params=sorted(RECIPES))
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    name, changes = RECIPES[request.param]
    return untrained(load_recipe(name, changes))


def scores(checkpoint: Checkpoint) -> Tensor:
    x = torch.rand(9, *DIGITS_SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        result: Tensor = checkpoint.network.eval()(x)
    return result


def sizes(checkpoint: Checkpoint) -> dict[str, int]:
    groups = channel_groups(checkpoint.network).items()
    return {name: group.size for name, group in groups if group.scalable}


@pytest.mark.parametrize("by", ["operation-aware", "l1"])
def test_sorting_keeps_the_answers_and_leads_with_what_matters(
    checkpoint: Checkpoint, by: str
) -> None:
    before = scores(checkpoint)
    result = sort_checkpoint(checkpoint, by)
    torch.testing.assert_close(scores(result.checkpoint), before, rtol=1e-4, atol=1e-5)
    assert not result.calibrated
    for values in result.importance.values():
        assert bool((values[:-1] >= values[1:]).all()) and float(values[0]) > float(values[-1])
    again = sort_checkpoint(result.checkpoint, by)
    for name, values in again.importance.items():
        torch.testing.assert_close(values, result.importance[name])


def test_data_measure_batch_norm_below_100_percent(checkpoint: Checkpoint, digits: DataSet) -> None:
    full = [norm.means[-1].clone().sort().values for norm in norms(checkpoint.network)]
    blind = sort_checkpoint(checkpoint)
    seeing = sort_checkpoint(checkpoint, data=digits)
    assert seeing.calibrated
    for norm, means in zip(norms(seeing.checkpoint.network), full, strict=True):
        assert all(norm.batches.tolist())
        assert torch.equal(norm.means[-1].sort().values, means), "the row of 100 % stays"
    assert all(norm.batches[:-1].sum() == 0 for norm in norms(blind.checkpoint.network))
    assert torch.equal(scores(seeing.checkpoint), scores(blind.checkpoint))


@pytest.mark.parametrize("keep", [1, 50, 100])
def test_keeping_a_share_is_the_leading_part_of_the_sorted_network(
    checkpoint: Checkpoint, keep: int
) -> None:
    ordered, pruned = (
        sort_checkpoint(checkpoint).checkpoint,
        prune_checkpoint(checkpoint, keep=keep),
    )
    widths = {name: group.width(keep) for name, group in channel_groups(ordered.network).items()}
    assert sizes(pruned.checkpoint) == {name: widths[name] for name in sizes(checkpoint)}
    set_widths(ordered.network, widths)
    assert torch.equal(scores(pruned.checkpoint), scores(ordered))
    assert pruned.before.macs >= pruned.after.macs
    parameters = sum(p.numel() for p in pruned.checkpoint.network.parameters())
    assert pruned.after.parameters == parameters
    assert pruned.after.channels == sum(sizes(pruned.checkpoint).values())
    assert pruned.after.macs == count_macs(ordered.network, keep)


def kill(checkpoint: Checkpoint, group: str, channels: list[int]) -> None:
    """Let batch norm push some channels of a group far below zero."""
    for norm in norms(checkpoint.network):
        (part,) = norm.target.parts
        if part.group.name == group and norm.weight is not None and norm.bias is not None:
            norm.weight.data[channels], norm.bias.data[channels] = 0.01, -5.0


@pytest.mark.parametrize("by", ["operation-aware", "l1"])
def test_dead_channels_go_and_nothing_else_changes(by: str) -> None:
    """Whatever ranks the others: the weights of a dead channel may well be large."""
    name, changes = RECIPES["depthwise"]
    checkpoint = untrained(load_recipe(name, changes))
    kill(checkpoint, "block1.pointwise", [0, 3, 6])
    before = scores(checkpoint)
    pruned = prune_checkpoint(checkpoint, by, threshold=CERTAIN)
    left = sizes(pruned.checkpoint)
    assert left["block1.pointwise"] == 5 and left["conv"] == left["block2.pointwise"] == 8
    torch.testing.assert_close(scores(pruned.checkpoint), before, rtol=1e-4, atol=1e-5)
    everything = prune_checkpoint(checkpoint, threshold=0.0)
    assert set(sizes(everything.checkpoint).values()) == {1}, "a group keeps one channel at least"


def test_a_residual_channel_is_dead_only_where_the_sum_is() -> None:
    """The shortcut has no batch norm: what it adds keeps channels alive."""
    name, changes = RECIPES["residual"]
    checkpoint = untrained(load_recipe(name, changes))
    kill(checkpoint, "conv", [1])  # the stem and, added to it, the first block
    pruned = prune_checkpoint(checkpoint, threshold=CERTAIN)
    assert sizes(pruned.checkpoint)["conv"] == sizes(checkpoint)["conv"] - 1


def test_what_is_left_is_a_whole_multiple() -> None:
    name, changes = RECIPES["depthwise"]
    checkpoint = untrained(load_recipe(name, [*changes, "multiple=4"]))
    kill(checkpoint, "conv", [0, 1, 2])
    kill(checkpoint, "block1.pointwise", [0, 1, 2, 3])
    left = sizes(prune_checkpoint(checkpoint, threshold=CERTAIN).checkpoint)
    assert left == {"conv": 8, "block1.pointwise": 4, "block2.pointwise": 8}


def test_pruned_checkpoints_round_trip(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "pruned.safetensors"
    once = prune_checkpoint(checkpoint, keep=60).checkpoint
    save_checkpoint(path, once.network, once.info)
    loaded = load_checkpoint(path)
    assert loaded.info == once.info and loaded.info.recipe.network.widths == sizes(once)
    assert torch.equal(scores(loaded), scores(once))
    twice = prune_checkpoint(loaded, keep=50).checkpoint
    save_checkpoint(path, twice.network, twice.info)
    assert sizes(load_checkpoint(path)) == sizes(twice)
    assert all(width < sizes(once)[name] for name, width in sizes(twice).items())


def test_learnt_profiles_are_pruned_with_their_channels(tmp_path: Path) -> None:
    changes = [*SMALL, "algorithm=tesla", "profile=trainable"]
    checkpoint = untrained(load_recipe("digits-mlp", changes))
    layer = checkpoint.network.body.get_submodule("fc2")
    layer.profile.data = torch.linspace(1.0, 0.4, 12)  # type: ignore[union-attr]
    pruned = prune_checkpoint(checkpoint, "l1", keep=50).checkpoint
    path = tmp_path / "pruned.safetensors"
    save_checkpoint(path, pruned.network, pruned.info)
    assert torch.equal(scores(load_checkpoint(path)), scores(pruned))
    kept = load_checkpoint(path).network.body.state_dict()["fc2.profile"]
    assert torch.equal(kept, torch.linspace(1.0, 0.4, 12)[:6])


def test_sorting_helps_a_network_that_was_not_trained_to_scale(
    digits: DataSet, tmp_path: Path
) -> None:
    """Channels that say nothing lead at first; sorted, they follow."""
    recipe = load_recipe(
        "digits-mlp",
        [*SMALL, "algorithm=idp", "profile=all-one", "hidden=[24]", "max_epochs=12", "batch=32"],
    )
    trained = load_checkpoint(train(recipe, digits, tmp_path).path)
    with torch.no_grad():
        for name in ("fc1.weight", "fc1.bias"):
            trained.network.body.state_dict()[name][:12] *= 1e-3
    ordered = sort_checkpoint(trained, "l1").checkpoint
    before, after = (evaluate(c.network, digits.test, (50, 100)) for c in (trained, ordered))
    assert after.accuracy[100] == before.accuracy[100]
    assert after.accuracy[50] > before.accuracy[50] + 0.2


def test_bad_options(checkpoint: Checkpoint, digits: DataSet) -> None:
    for options, word in [
        ({"keep": 0}, "0 % of the channels"),
        ({"keep": 101}, "101 % of the channels"),
        ({"threshold": 1.5}, "1.5 is no probability"),
        ({"threshold": float("nan")}, "nan is no probability"),
        ({"threshold": 0.5, "keep": 50}, "exclude each other"),
    ]:
        with pytest.raises(ConfigError, match=word):
            prune_checkpoint(checkpoint, **options)  # type: ignore[arg-type]
    flat = DataSet("npz:x", digits.train, digits.test, 10)
    wrong = untrained(small("idp"))
    other = Checkpoint(wrong.network, wrong.info)
    other.network.input_shape = (4, 4, 1)
    for ask in (sort_checkpoint, prune_checkpoint):
        with pytest.raises(ConfigError, match="takes examples of shape"):
            ask(other, "l1", data=flat)


def test_networks_that_cannot_be_sorted() -> None:
    for algorithm in ("mp-idp", "individual"):
        several = untrained(small(algorithm))
        for ask in (sort_checkpoint, prune_checkpoint):
            with pytest.raises(UnsupportedOp, match="keeps 3 copies"):
                ask(several)
    without = untrained(small("idp"))
    with pytest.raises(UnsupportedOp, match=r"without batch norm .* use the measure l1"):
        sort_checkpoint(without)
    with pytest.raises(UnsupportedOp, match="nothing is known"):
        prune_checkpoint(without, "l1")
    assert prune_checkpoint(without, "l1", keep=50).calibrated, "no batch norm, nothing to do"


def run(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(sort)
    app.command()(prune)
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_verbs(tmp_path: Path) -> None:
    name, changes = RECIPES["depthwise"]
    first = untrained(load_recipe(name, changes))
    path, ordered, pruned = (tmp_path / f"{stem}.safetensors" for stem in "abc")
    save_checkpoint(path, first.network, first.info)
    shown = run("sort", path, "--out", ordered)
    assert "3 groups of channels sorted, operation-aware" in shown and "give --data" in shown
    shown = run("prune", ordered, "--out", pruned, "--keep", 50, "--data", "digits")
    assert "channels of block1.pointwise" in shown and "50.0%" in shown
    assert "give --data" not in shown
    assert sizes(load_checkpoint(pruned)) == {
        "conv": 4,
        "block1.pointwise": 4,
        "block2.pointwise": 4,
    }
    for verb, extra, word in [
        ("sort", ("--by", "size"), "'size' is not known; choose one of operation-aware, l1"),
        ("prune", ("--keep", 50, "--threshold", 0.5), "exclude each other"),
        ("prune", ("--keep", 0), "cannot be kept"),
    ]:
        with pytest.raises(ConfigError, match=word):
            run(verb, path, "--out", tmp_path / "none", *extra)
    with pytest.raises(ConfigError, match="does not exist"):
        run("sort", tmp_path / "missing", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()
