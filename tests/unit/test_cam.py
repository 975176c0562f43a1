"""Class activation maps: they add up to the score, and the picture tells right from wrong."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tesla_embed.data import load_data
from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.cam import activation_maps
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import build
from tesla_embed.train.loop import train
from tesla_embed.train.recipe import load_recipe
from tesla_host.cli import app
from tesla_host.report.pictures import GREEN, RED, framed, grid, overlay, png

IMAGES = np.random.default_rng(0).random((3, 12, 12, 1)).astype(np.float32)


@pytest.mark.parametrize("dp", [25, 100])
def test_maps_of_a_network_with_a_mean_add_up_to_the_score(dp: int) -> None:
    network = build(load_recipe("cifar10-resnet8").network, (12, 12, 1), 5, "linear", 0)
    found = activation_maps(network, IMAGES, dp)
    assert found.maps.shape == (3, 3, 3) and found.maps.dtype == np.float32
    set_dp(network, dp)
    logits = network.eval()(torch.from_numpy(IMAGES)).detach()
    assert np.array_equal(found.predictions, logits.argmax(1).numpy())
    classifier = network.get_submodule("body.classifier")
    bias = classifier.bias.detach().numpy()[found.predictions]  # type: ignore[union-attr, operator]
    np.testing.assert_allclose(found.maps.sum((1, 2)) + bias, found.scores, atol=1e-5)
    np.testing.assert_allclose(found.scores, logits.max(1).values.numpy())


def test_average_pools_count_as_linear_and_layers_can_be_named() -> None:
    recipe = load_recipe("cifar10-vgg16", ["network.width=0.05", "pool=average"])
    network = build(recipe.network, (12, 12, 1), 5, "all-one", 0)
    assert activation_maps(network, IMAGES, 100).maps.shape == (3, 1, 1)
    assert activation_maps(network, IMAGES, 100, "relu2_2").maps.shape == (3, 6, 6)
    with pytest.raises(ConfigError, match=r"no image comes out of layer 'x'; use .*conv1_1"):
        activation_maps(network, IMAGES, 100, "x")
    mlp = build(load_recipe("digits-mlp").network, (12, 12, 1), 5, "linear", 0)
    with pytest.raises(UnsupportedOp, match="does not work on an image"):
        activation_maps(mlp, IMAGES, 100)


def test_picture_is_a_png_with_frames() -> None:
    heat = np.array([[0, 1], [-1, 0.5]], np.float32)
    cell = overlay(IMAGES[0], heat, 2)
    assert cell.shape == (24, 24, 3)
    red, _, blue = cell.astype(int).transpose(2, 0, 1)
    assert red[0, -1] > blue[0, -1] and red[-1, 0] < blue[-1, 0], "hot is red, cold is blue"
    whole = grid([[framed(cell, GREEN), framed(cell, RED)]])
    assert tuple(whole[4, 4]) == GREEN and tuple(whole[4, 4 + 30 + 4]) == RED
    content = png(whole)
    width, height = struct.unpack(">II", content[16:24])
    assert (height, width) == whole.shape[:2]
    start = content.index(b"IDAT") + 4
    length = struct.unpack(">I", content[start - 8 : start - 4])[0]
    lines = np.frombuffer(zlib.decompress(content[start : start + length]), np.uint8)
    assert np.array_equal(lines.reshape(height, -1)[:, 1:].reshape(whole.shape), whole)


def test_verb_draws_and_refuses(tmp_path: Path) -> None:
    data, run = load_data("digits"), CliRunner().invoke
    for name, changes in (("digits-cnn", ["channels=[4, 4]"]), ("digits-mlp", [])):
        train(load_recipe(name, [*changes, "max_epochs=1", "tasks=[100]"]), data, tmp_path / name)
    arguments = ["--data", "digits", "--out", str(tmp_path / "cam.png"), "--dp", "50,100"]
    model = str(tmp_path / "digits-cnn" / "model.safetensors")
    result = run(app, ["cam", model, *arguments, "--samples", "2", "--layer", "relu_conv1"])
    assert result.exit_code == 0, result.output
    assert "2 images at 50, 100 % DP" in result.output
    assert (tmp_path / "cam.png").read_bytes().startswith(b"\x89PNG")
    for options, error in (
        ([model, *arguments, "--first", "9999"], ConfigError),
        ([str(tmp_path / "digits-mlp" / "model.safetensors"), *arguments], UnsupportedOp),
    ):
        assert isinstance(run(app, ["cam", *options]).exception, error)
