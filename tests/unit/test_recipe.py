"""Recipes: those that ship, overrides, and every way to get one wrong."""

from pathlib import Path

import pytest

from tesla_embed.errors import ConfigError
from tesla_embed.nn.networks import MlpConfig
from tesla_embed.train.recipe import load_recipe, recipe_bytes, recipe_names


def test_shipped_recipes_load() -> None:
    assert set(recipe_names()) >= {"mnist-mlp", "digits-mlp", "digits-cnn"}
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_mnist_recipe_is_the_papers() -> None:
    recipe = load_recipe("mnist-mlp")
    assert recipe.algorithm == "tesla"
    assert recipe.network == MlpConfig(hidden=(100, 100), scalable=(True, False))
    assert recipe.tesla.tasks == (100, 70, 40, 10) and recipe.tesla.alpha == 0.5
    assert recipe.stopping.patience == 4
    assert recipe.optimizer.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=7", "seed", 7),
        ("profile=linear", "profile", "linear"),
        ('profile="all-one"', "profile", "all-one"),
        ("tesla.alpha=0.25", "tesla.alpha", 0.25),
        ("alpha = 0.25", "tesla.alpha", 0.25),
        ("tasks=[100, 50]", "tesla.tasks", (100, 50)),
        ("optimizer.learning_rate=1", "optimizer.learning_rate", 1.0),
        ("network.hidden=[5,4]", "network.hidden", (5, 4)),
        ("stopping.validation=0.5", "stopping.validation", 0.5),
    ],
)
def test_overrides(override: str, path: str, value: object) -> None:
    found: object = load_recipe("mnist-mlp", [override])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value and type(found) is type(value)


def test_every_key_can_be_overridden_by_its_own_value() -> None:
    recipe = load_recipe("mnist-mlp")
    keys = ["name=mnist-mlp", "network.kind=mlp", "multiple=1", "threads=1", "max_epochs=100"]
    assert recipe_bytes(load_recipe("mnist-mlp", keys)) == recipe_bytes(recipe)


def test_later_overrides_win() -> None:
    assert load_recipe("mnist-mlp", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("nokey=1", "keys are name, network.kind"),
        ("tesla=1", "no such key"),
        ("seed", "--set key=value"),
        ("seed=x", "Expected `int`"),
        ("seed=-1", "$.seed"),
        ("seed=1.5", "Expected `int`"),
        ("seed=true", "Expected `int`"),
        ("name=../x", "$.name"),
        ("name=a\nseed = 3", "$.name"),
        ("alpha=1", "$.tesla.alpha"),
        ("alpha=nan", "$.tesla.alpha"),
        ("learning_rate=inf", "$.optimizer.learning_rate"),
        ("learning_rate=nan", "$.optimizer.learning_rate"),
        ("learning_rate=0", "$.optimizer.learning_rate"),
        ("min_gain=nan", "$.stopping.min_gain"),
        ("validation=0", "$.stopping.validation"),
        ("tasks=[10, 100]", "decrease"),
        ("tasks=[]", "$.tesla.tasks"),
        ("tasks=[0]", "$.tesla.tasks"),
        ("network.hidden=[5]", "hidden has 1 entries but scalable has 2"),
        ("network.kind=rnn", "$.network.kind"),
        ("network.kind=cnn", "$.network"),
    ],
)
def test_bad_overrides(override: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("mnist-mlp", [override])
    assert word in str(caught.value)
    if "=" in override:
        assert "keys are " in str(caught.value)


def test_recipe_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[network]\nkind = "mlp"\nhidden = [4]\nscalable = [true]\n')
    assert load_recipe(str(path), ["seed=3"]).seed == 3
    for content, word in (
        ("name = ", "no valid TOML"),
        ("a = " + "[" * 5000, "no valid TOML"),
        ('name = "x"', "network"),
        ('name = "x"\nextra = 1\n[network]\nkind = "mlp"\nhidden = []\nscalable = []\n', "extra"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigError, match=word):
            load_recipe(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(str(path))


def test_unknown_recipes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mnist-mlp"):
        load_recipe("nothing")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.toml"))
