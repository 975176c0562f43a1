"""Recipes: those that ship, overrides, and every way to get one wrong."""

import re
from pathlib import Path

import pytest

from tesla_embed.errors import ConfigError
from tesla_embed.ir.verify import verify
from tesla_embed.nn.export import to_model
from tesla_embed.nn.networks import MlpConfig, assemble
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
        ("network.hidden=[5]", "has 1 entries but scalable has 2; add --set scalable=[true] "),
        ("hidden=[5,4,3]", "add --set scalable=[true,false,true] "),
        ("hidden=[65536, 4]", "<= 65535"),
        ("hidden=[0, 4]", ">= 1"),
        (f"name={'a' * 64}", "length <= 63"),
        ("name=_a", "$.name"),
        ("network.kind=rnn", "$.network.kind"),
        ("network.kind=cnn", "$.network"),
    ],
)
def test_bad_overrides(override: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("mnist-mlp", [override])
    assert word in str(caught.value)
    listed = "no such key" in str(caught.value) or "unknown field" in str(caught.value)
    assert ("keys are " in str(caught.value)) == listed


CNN_LIMITS = ("channels=[65535, 1]", "kernel=255", "stride=255", "pool_sizes=[255, 1]")


@pytest.mark.parametrize("override", CNN_LIMITS)
def test_widths_and_windows_end_where_those_of_models_do(override: str) -> None:
    load_recipe("digits-cnn", [override])
    beyond = override.replace("65535", "65536").replace("255", "256")
    with pytest.raises(ConfigError, match=r"<= (65535|255) - at `.*network"):
        load_recipe("digits-cnn", [beyond])


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("channels=[5]", "pool_sizes=[2]"),
        ("channels=[5,6,7]", "pool_sizes=[2,2,1]"),
        ("hidden=[5,6]", "hidden_scalable=[true,true]"),
    ],
)
def test_advice_on_lists_of_unequal_length(override: str, advice: str) -> None:
    overrides = [override]
    with pytest.raises(ConfigError, match=re.escape(f"add --set {advice} ")):
        load_recipe("digits-cnn", overrides)
    if override.startswith("channels"):
        overrides.append(advice)
        advice = f"channels_scalable=[{','.join(['true'] * (override.count(',') + 1))}]"
        with pytest.raises(ConfigError, match=re.escape(f"add --set {advice} ")):
            load_recipe("digits-cnn", overrides)
    load_recipe("digits-cnn", [*overrides, advice])


@pytest.mark.parametrize("name", ["a", "A-b_9", "a" * 63, "a" * 64, "9a", "_a", "-a", "a.b", "é"])
def test_recipe_names_are_those_that_models_can_have(name: str) -> None:
    try:
        load_recipe("digits-mlp", [f"name={name}"])
    except ConfigError:
        accepted = False
    else:
        accepted = True
    recipe = load_recipe("digits-mlp", ["hidden=[1]", "scalable=[true]"])
    network = assemble(recipe.network, (1,), 2, recipe.profile)
    if accepted:
        verify(to_model(network, name.replace("-", "_"), (100,)))
    else:
        with pytest.raises(ConfigError, match="identifier"):
            to_model(network, name.replace("-", "_"), (100,))


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
