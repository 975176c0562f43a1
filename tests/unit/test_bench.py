"""The command `bench training`: equal widths, shares that add up, and a file for machines."""

import json
from pathlib import Path

import pytest
import torch
from modules import KINDS, images, plain_module
from typer.testing import CliRunner

from tesla_embed.errors import ConfigError
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.nn.scalable import make_scalable
from tesla_embed.train.recipe import load_recipe, recipe_names
from tesla_embed.train.step_cost import SHAPES, known_data, measure_step, plain_like
from tesla_host.cli import app


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"concat"}))
@pytest.mark.parametrize("dp", [30, 100])
def test_plain_modules_have_the_widths_and_the_result_of_the_scalable_one(
    kind: str, dp: int
) -> None:
    plain = plain_module(kind, 3)
    scalable = make_scalable(plain, images(), profile="all-one", rows=[100])
    narrow = plain_like(plain, Network(scalable, (3, 8, 8), 4), dp)
    set_dp(scalable, dp)
    torch.testing.assert_close(narrow(images()), scalable(images()))
    sizes = [sum(p.numel() for p in module.parameters()) for module in (narrow, plain)]
    assert sizes[0] < sizes[1] or dp == 100
    assert sizes[1] == sum(p.numel() for p in plain_module(kind, 3).parameters())


def test_shares_are_of_the_plain_step_and_sum_up() -> None:
    recipe = load_recipe("digits-mlp", ["hidden=[40]", "scalable=[true]"])
    rounds: list[int] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        costs = measure_step(recipe, (8, 8, 1), 10, (100, 50), 3, rounds.append)
        assert rounds == [1, 2, 3] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    full, half = costs.tasks
    assert (full.dp, full.macs, full.narrow) == (100, 1.0, 1.0)
    assert half.macs == pytest.approx(0.5)
    assert costs.macs == pytest.approx(1.5)
    assert costs.scalable == full.scalable + half.scalable
    assert costs.narrow == full.narrow + half.narrow
    assert costs.whole > 0 and costs.plain_s > 0 and costs.batch == recipe.optimizer.batch


def test_data_of_every_recipe_are_known() -> None:
    assert {known_data(load_recipe(name)) for name in recipe_names()} <= set(SHAPES.values())


def test_verb_prints_writes_and_refuses(tmp_path: Path) -> None:
    run, numbers = CliRunner().invoke, tmp_path / "numbers.json"
    common = ["bench", "training", "digits-mlp", "--rounds", "1"]
    result = run(app, [*common, "--dp", "20,100", "--json", str(numbers)])
    assert result.exit_code == 0, result.output
    assert "plain modules of these widths; a whole step is" in result.output
    found = json.loads(numbers.read_text())
    assert found["schema"] == "tesla-embed/bench-training/1"
    assert [task["dp"] for task in found["tasks"]] == [100, 20]
    assert found["sum"]["macs"] == pytest.approx(sum(task["macs"] for task in found["tasks"]))
    result = run(app, [*common, "--data-shape", "4,4,1"])
    assert result.exit_code == 0, result.output
    own = 'name = "own"\nnetwork = {kind = "mlp", hidden = [], scalable = []}'
    (tmp_path / "own.toml").write_text(own)
    for arguments, says in (
        ([*common, "--data-shape", "4,x"], "is no list of sizes; write 32,32,3"),
        (["bench", "training", str(tmp_path / "own.toml")], "not known; give --data-shape"),
        ([*common, "--set", "algorithm=individual", "--dp", "0"], "out of range"),
    ):
        error = run(app, arguments).exception
        assert isinstance(error, ConfigError) and says in str(error)
