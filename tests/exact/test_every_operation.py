"""One graph with every operation: interpreter, host C, LiteRT and the emulated Cortex-M4 agree."""

import importlib
import typing
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from graphs import every_operation, quantized_model
from shell import call

from tesla_embed.ir.ops import Op
from tesla_embed.ir.parts import channel_parts
from tesla_embed.ir.store import save_model
from tesla_embed.nn.networks import build
from tesla_embed.nn.norm import norms
from tesla_embed.train.checkpoint import CheckpointInfo, save_checkpoint
from tesla_embed.train.recipe import load_recipe
from tesla_host.compilers import find_compiler


def test_the_graph_has_every_operation_and_several_parts() -> None:
    model = every_operation()
    assert {type(op) for op in model.graph.ops} == set(typing.get_args(Op))
    parts = channel_parts(model.graph, model.regions[0])
    assert any(len(row) > 1 and row[0].active < row[0].full for row in parts)


def test_it_is_exact_on_every_implementation(tmp_path: Path) -> None:
    require(lambda: find_compiler("zig"))
    require(lambda: importlib.import_module("ai_edge_litert"))
    require(lambda: importlib.import_module("unicorn"))
    save_model(tmp_path / "model", every_operation())
    sizes = ("--samples", "16", "--device-samples", "4")
    assert call("verify", tmp_path / "model", *sizes) == 0


@pytest.mark.parametrize("seed", range(2))
def test_random_graphs_are_exact_on_the_device(tmp_path: Path, seed: int) -> None:
    require(lambda: find_compiler("zig"))
    require(lambda: importlib.import_module("ai_edge_litert"))
    require(lambda: importlib.import_module("unicorn"))
    save_model(tmp_path / "model", quantized_model(1000 + seed, portable=True))
    sizes = ("--samples", "8", "--device-samples", "8")
    assert call("verify", tmp_path / "model", *sizes) == 0


RECIPES = {
    "cifar10-resnet8": ["network.width=0.5"],
    "kws-dscnn": ["network.kernel=[3, 3]", "network.padding=[1, 1]", "network.channels=12"],
    "vww-mobilenet": ["network.width=0.1"],
    "ad-autoencoder": ["network.hidden=[16, 4, 16]", "network.code=2"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_networks_of_the_recipes(tmp_path: Path, name: str) -> None:
    """Untrained, with statistics of batch norm that differ in every region."""
    require(lambda: find_compiler("zig"))
    require(lambda: importlib.import_module("ai_edge_litert"))
    recipe = load_recipe(name, [*RECIPES[name], "batch_norm.rows=[25, 50, 100]", "profile=linear"])
    classes = 64 if name == "ad-autoencoder" else 10
    network = build(recipe.network, (8, 8, 1), classes, recipe.profile, 2, recipe.batch_norm)
    rng = np.random.default_rng(0)
    for layer in norms(network):
        layer.means.copy_(layer.means.new_tensor(rng.normal(0, 0.1, layer.means.shape)))
        layer.variances.copy_(layer.means.new_tensor(rng.uniform(0.2, 2.0, layer.means.shape)))
        layer.batches.fill_(1)
    info = CheckpointInfo(recipe=recipe, input_shape=(8, 8, 1), classes=classes, data="digits")
    save_checkpoint(tmp_path / "float.safetensors", network, info)
    model = tmp_path / "model.safetensors"
    regions = ("--data", "digits", "--regions", "25,50,100", "--samples", "64")
    assert call("quantize", tmp_path / "float.safetensors", *regions, "--out", model) == 0
    assert call("verify", model, "--target", "host", "--samples", "16") == 0
