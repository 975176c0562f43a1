"""Statistics of use: good files, every bad one, and what a recipe makes of them."""

from pathlib import Path

import pytest

from tesla_embed.errors import ConfigError
from tesla_embed.train.recipe import load_recipe, recipe_bytes
from tesla_embed.train.usage import read_usage


def test_regions_come_in_decreasing_order_without_unused_ones(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("\ufeffdp, count\r\n10,3\r\n\r\n 100 ,1.5\r\n50,0\r\n")
    assert read_usage(path) == ((100, 10), (1.5, 3.0))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "does not begin with dp,count"),
        (b"10,3\n", "does not begin with dp,count"),
        (b"dp,count\n", "counts nothing"),
        (b"dp,count\n10,0\n", "counts nothing"),
        (b"dp,count\n10\n", "line 2 .* has 1 values"),
        (b"dp,count\n10,3\n20,3,4\n", "line 3 .* has 3 values"),
        (b"dp,count\nten,3\n", "line 2 .*invalid literal"),
        (b"dp,count\n10.5,3\n", "line 2 .*invalid literal"),
        (b"dp,count\n10,many\n", "line 2 .*could not convert"),
        (b"dp,count\n0,3\n", "out of range"),
        (b"dp,count\n101,3\n", "out of range"),
        (b"dp,count\n10,-1\n", "negative or no number"),
        (b"dp,count\n10,nan\n", "negative or no number"),
        (b"dp,count\n10,inf\n", "negative or no number"),
        (b"dp,count\n10,1\n10,2\n", "repeats 10"),
        (b"dp,count\n10,\xff\n", "cannot be read"),
        (b'dp,count\n"10,1\n', "cannot be read"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "usage.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=word) as caught:
        read_usage(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_usage(tmp_path)


def test_recipes_keep_the_numbers_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("dp,count\n20,30\n80,10\n")
    recipe = load_recipe("mnist-mlp", [f"usage={path}"])
    assert recipe.r_tesla.regions == (80, 20) and recipe.r_tesla.weights == (10.0, 30.0)
    path.write_text("dp,count\n20,99\n")
    assert b"usage.csv" not in recipe_bytes(recipe)
    with pytest.raises(ConfigError, match="excludes"):
        load_recipe("mnist-mlp", [f"usage={path}", "weights=[1, 1, 1, 1]"])


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("weights=[1, 2]", "2 entries for 4 regions"),
        ("weights=[0, 0, 0, 0]", "all be zero"),
        ("weights=[1, 2, 3, -1]", "r_tesla.weights"),
        ("weights=[1, 2, 3, nan]", "r_tesla.weights"),
        ("r_tesla.regions=[10, 10]", "must differ"),
        ("ranges=[50, 40, 100]", "ascend to 100"),
        ("ranges=[50]", "ascend to 100"),
        ('profiles=["linear"]', "ranges has 3 entries"),
        ("individual.regions=[]", "individual.regions"),
        ("smallest=100", "universal.smallest"),
        ("peak=0", "budget.peak"),
        ("budget.epochs=0", "budget.epochs"),
    ],
)
def test_options_out_of_range(override: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        load_recipe("mnist-mlp", [override])
