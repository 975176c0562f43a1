"""Recipes and checkpoints of networks that are narrower in places, as pruning leaves them."""

import contextlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import SMALL

from tesla_embed.data import DataSet, load_data
from tesla_embed.errors import ConfigError
from tesla_embed.nn.layers import channel_groups, set_dp
from tesla_embed.nn.networks import Network, build
from tesla_embed.quant.pipeline import quantize_checkpoint
from tesla_embed.train.algorithms import ALGORITHMS
from tesla_embed.train.checkpoint import Checkpoint, CheckpointInfo, load_checkpoint
from tesla_embed.train.checkpoint import save_checkpoint as save
from tesla_embed.train.loop import train
from tesla_embed.train.recipe import Recipe, load_recipe

DSCNN = ["kernel=[3, 3]", "padding=[1, 1]", "channels=6", "blocks=1", "dropout=0.0"]
NARROW = 'network.widths={conv=4, "block1.pointwise"=5}'
SHAPE = (8, 8, 1)


def network(recipe: Recipe) -> Network:
    return build(recipe.network, SHAPE, 10, recipe.profile, 3, recipe.batch_norm)


def write(path: Path, recipe: Recipe) -> Path:
    info = CheckpointInfo(recipe=recipe, input_shape=SHAPE, classes=10, data="digits")
    save(path, network(recipe).eval(), info)
    return path


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    return write(tmp_path / "narrow.safetensors", load_recipe("kws-dscnn", [*DSCNN, NARROW]))


@pytest.fixture(scope="module")
def digits() -> DataSet:
    whole = load_data("digits")
    return DataSet("digits", whole.train.subset(slice(0, 200)), whole.test, whole.classes)


def test_a_recipe_sets_the_width_of_single_groups() -> None:
    made = network(load_recipe("kws-dscnn", [*DSCNN, NARROW]))
    sizes = {name: g.size for name, g in channel_groups(made).items() if g.scalable}
    assert sizes == {"conv": 4, "block1.pointwise": 5}
    shapes = {name: tuple(tensor.shape) for name, tensor in made.body.state_dict().items()}
    assert shapes["block1.depthwise.weight"] == (4, 1, 3, 3)
    assert shapes["block1.pointwise.weight"] == (5, 4, 1, 1)
    assert shapes["block1.pointwise_norm.means"] == (20, 5)
    assert shapes["classifier.weight"] == (10, 5)
    for dp in (10, 100):
        set_dp(made, dp)
        assert made.eval()(torch.rand(2, *SHAPE)).isfinite().all()


def test_profiles_keep_their_leading_coefficients() -> None:
    changes = ["hidden=[8]", "scalable=[true]", "profile=linear", "network.widths={fc1=3}"]
    made = network(load_recipe("digits-mlp", changes))
    layer = made.body.get_submodule("fc2")
    torch.testing.assert_close(layer.profile, torch.tensor([1.0, 7 / 8, 6 / 8]))


def test_widths_survive_a_checkpoint(narrow: Path) -> None:
    loaded = load_checkpoint(narrow)
    assert loaded.info.recipe.network.widths == {"conv": 4, "block1.pointwise": 5}
    x = torch.rand(3, *SHAPE)
    with torch.no_grad():
        assert torch.equal(loaded.network.eval()(x), network(loaded.info.recipe).eval()(x))


def test_a_narrow_network_becomes_a_model(digits: DataSet, tmp_path: Path) -> None:
    changes = ["channels=[4, 6]", "pool_sizes=[2, 2]", "channels_scalable=[true, true]"]
    changes += ["hidden=[8]", "hidden_scalable=[true]", "network.widths={conv2=5, fc1=3}"]
    path = write(tmp_path / "cnn.safetensors", load_recipe("digits-cnn", changes))
    model = quantize_checkpoint(load_checkpoint(path), digits, (50, 100))
    wide, half = model.regions[1].types, model.regions[0].types
    assert [t.channels for t in wide if len(t.shape) == 1][-2:] == [3, 10]
    assert [t.channels for t in half if len(t.shape) == 3] == [1, 2, 2, 3, 3]


def header_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})["tesla-embed"])
    return safetensors.torch.load_file(path), header


def claim(path: Path, widths: object) -> None:
    tensors, header = header_of(path)
    header["recipe"]["network"]["widths"] = widths  # type: ignore[index]
    safetensors.torch.save_file(tensors, path, {"tesla-embed": json.dumps(header)})


CLAIMS = [
    ({}, r"weight .* \(4, 1, 3, 3\), the network .* needs .* \(6, 1, 3, 3\)"),
    ({"conv": 3, "block1.pointwise": 5}, r"needs .* \(3, 1, 3, 3\)"),
    ({"conv": 7}, "group conv has 6 channels, 7 cannot be active"),
    ({"conv": 60000}, "60000 cannot be active"),
    ({"conv": 10**9}, "malformed"),
    ({"conv": 0}, "malformed"),
    ({"conv": -4}, "malformed"),
    ({"conv": 4.5}, "malformed"),
    ({"conv": True}, "malformed"),
    ({"conv": None}, "malformed"),
    ({"classifier": 10}, "classifier does not scale"),
    ({"norm": 4}, "'norm' is not known"),
    ({"": 4}, "'' is not known"),
    ([4, 5], "malformed"),
    ("conv", "malformed"),
]


@pytest.mark.parametrize(("widths", "word"), CLAIMS)
def test_headers_that_lie_about_widths(narrow: Path, widths: object, word: str) -> None:
    claim(narrow, widths)
    with pytest.raises(ConfigError, match=word):
        load_checkpoint(narrow)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    widths=st.dictionaries(
        st.sampled_from(["conv", "block1.pointwise", "classifier", "x"]) | st.text(max_size=3),
        st.integers(-1, 70000) | st.none() | st.text(max_size=2),
        max_size=3,
    )
)
def test_no_claim_leaks_another_error(narrow: Path, widths: dict[str, object]) -> None:
    claim(narrow, widths)
    with contextlib.suppress(ConfigError):
        load_checkpoint(narrow)


QUICK = ["max_epochs=1", "tasks=[100, 50]", "budget.epochs=1", "max_epoch=1"]


@pytest.mark.parametrize("algorithm", ["tesla", "universal"])
def test_training_goes_on_from_a_narrow_network(
    narrow: Path, digits: DataSet, tmp_path: Path, algorithm: str
) -> None:
    recipe = load_recipe("kws-dscnn", [*DSCNN, *QUICK, f"algorithm={algorithm}"])
    result = train(recipe, digits, tmp_path / "run", initial=narrow)
    loaded: Checkpoint = load_checkpoint(result.path)
    assert loaded.info.recipe.network.widths == {"conv": 4, "block1.pointwise": 5}
    assert loaded.network.body.state_dict()["conv.weight"].shape[0] == 4
    again = train(recipe, digits, tmp_path / "run", initial=narrow)  # as after an interruption
    assert again.epochs == result.epochs


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_trains_narrow_networks(
    digits: DataSet, tmp_path: Path, algorithm: str
) -> None:
    changes = [*SMALL, "max_epochs=1", "budget.epochs=1", "network.widths={fc1=7}"]
    recipe = load_recipe("digits-mlp", [*changes, f"algorithm={algorithm}"])
    loaded = load_checkpoint(train(recipe, digits, tmp_path).path)
    assert loaded.info.recipe.network.widths == {"fc1": 7}


def test_initial_files_that_contradict(narrow: Path, digits: DataSet, tmp_path: Path) -> None:
    other = load_recipe("kws-dscnn", [*DSCNN, "network.widths={conv=2}"])
    with pytest.raises(
        ConfigError, match=r"network.widths of the recipe are not those of .*narrow"
    ):
        train(other, digits, tmp_path / "run", initial=narrow)
    mlp = load_recipe("digits-mlp", SMALL)
    with pytest.raises(ConfigError, match=r"network.widths does not fit the network: group 'conv'"):
        train(mlp, digits, tmp_path / "run", initial=narrow)
    claim(narrow, {"conv": "wide"})
    with pytest.raises(ConfigError, match=r"header of .* is malformed"):
        train(mlp, digits, tmp_path / "run", initial=narrow)
    narrow.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="no valid safetensors file"):
        train(mlp, digits, tmp_path / "run", initial=narrow)


def test_recipes_with_widths_can_be_keys() -> None:
    """A comparison keeps its runs by their recipe."""
    ways = ["widths={a=1, b=2}", "widths={b=2, a=1}", "widths={a=2, b=1}", "blocks=3"]
    recipes = [load_recipe("kws-dscnn", [change]) for change in ways]
    assert recipes[0] == recipes[1] and len(set(recipes)) == 3


def test_widths_on_the_command_line() -> None:
    assert load_recipe("kws-dscnn", ["widths={conv=3}"]).network.widths == {"conv": 3}
    with pytest.raises(ConfigError, match="widths"):
        load_recipe("kws-dscnn", ["widths={block1.pointwise=3}"])  # a name needs quotes
    with pytest.raises(ConfigError, match="no such key"):
        load_recipe("kws-dscnn", ["widths.conv=3"])
