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
from tesla_embed.nn.cam import ActivationMaps, activation_maps
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import build
from tesla_embed.train.loop import train
from tesla_embed.train.recipe import load_recipe
from tesla_host.cli import app
from tesla_host.report.activation import draw_maps
from tesla_host.report.lettering import lettered
from tesla_host.report.pictures import GREEN, INK, RED, framed, overlay, png, read_png, table, words

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
    assert activation_maps(network, IMAGES, 100).maps.shape == (3, 3, 3), "one place shows nothing"
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
    whole = table([[framed(cell, GREEN), framed(cell, RED)]])
    assert tuple(whole[10, 10]) == GREEN and tuple(whole[10, 10 + 30 + 10]) == RED
    assert whole.shape == (30 + 20, 2 * 30 + 30, 3)
    content = png(whole)
    width, height = struct.unpack(">II", content[16:24])
    assert (height, width) == whole.shape[:2]
    start = content.index(b"IDAT") + 4
    length = struct.unpack(">I", content[start - 8 : start - 4])[0]
    lines = np.frombuffer(zlib.decompress(content[start : start + length]), np.uint8)
    assert np.array_equal(lines.reshape(height, -1)[:, 1:].reshape(whole.shape), whole)


def holds(picture: np.ndarray, part: np.ndarray) -> bool:
    height, width, _ = part.shape
    windows = np.lib.stride_tricks.sliding_window_view(picture, (height, width, 3))[:, :, 0]
    return bool((windows == part).all(axis=(2, 3, 4)).any())


def test_headings_and_frames_say_what_every_column_and_row_is() -> None:
    def maps(*answers: int) -> ActivationMaps:
        return ActivationMaps(
            np.ones((2, 3, 3), np.float32), np.array(answers), np.zeros(2, np.float32)
        )

    found = {10: maps(3, 4), 100: maps(3, 7)}
    whole = draw_maps(IMAGES[:2], [3, 7], 40, found)
    for word in ("DP 10 %", "DP 100 %", "# 40", "# 41", "class 3", "class 7", "image"):
        assert holds(whole, words(word)), word
    third = whole.shape[1] // 4  # headings, the image, and the columns
    assert not holds(whole[:, : 2 * third], words("DP 100 %"))
    for word, colour in (("says 3", GREEN), ("says 4", RED), ("says 7", GREEN)):
        assert holds(whole, words(word, colour)), word
    assert not holds(whole, words("says 4", GREEN)) and not holds(whole, words("DP 50 %"))
    assert holds(words("class 7"), words("7")[:, :4]), "letters can be found at all"


def test_letters_differ_and_unknown_ones_are_boxes() -> None:
    letters = "0123456789%.#DPacegilmnsty "
    assert len({lettered(letter, 1).tobytes() for letter in letters}) == len(letters)
    assert lettered("é", 3).shape == (21, 15) and lettered("é", 1)[0].all()
    assert lettered("DP", 2).shape == (14, 22) and lettered("", 2).shape[1] == 0
    assert tuple(words("1")[2, 4]) == INK


def test_pictures_for_a_page_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, whole = tmp_path / "cam.png", png(np.zeros((3, 5, 3), np.uint8))
    path.write_bytes(whole)
    assert read_png(path) == whole
    wide = png(np.zeros((1, 4097, 3), np.uint8))
    end = whole[-12:]
    for content, says in (
        (b"", "is no PNG file; give the picture that"),
        (b"\xff\xd8\xff jpeg", "is no PNG file"),
        (whole[:8], "truncated or damaged"),
        (whole[:-1], "truncated or damaged"),
        (whole[:-12], "truncated or damaged"),
        (whole + b"<script>", "truncated or damaged"),
        (whole[:8] + end, "truncated or damaged"),
        (whole[:33] + end, "truncated or damaged"),
        (whole.replace(b"IHDR", b"IHDX"), "truncated or damaged"),
        (whole[:20] + b"\xff" + whole[21:], "truncated or damaged"),
        (wide, "4097 x 1 pixels, the limit is 4096 either way; draw fewer"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=says):
            read_png(path)
    with pytest.raises(ConfigError, match="No such file or directory; check the path"):
        read_png(tmp_path / "none")
    monkeypatch.setattr("tesla_host.report.pictures.MAX_BYTES", len(whole) - 1)
    path.write_bytes(whole)
    with pytest.raises(ConfigError, match=r"more than .* bytes; draw fewer"):
        read_png(path)


def test_verb_draws_and_refuses(tmp_path: Path) -> None:
    data, run = load_data("digits"), CliRunner().invoke
    for name, changes in (("digits-cnn", ["channels=[4, 4]"]), ("digits-mlp", [])):
        train(load_recipe(name, [*changes, "max_epochs=1", "tasks=[100]"]), data, tmp_path / name)
    arguments = ["--data", "digits", "--out", str(tmp_path / "cam.png"), "--dp", "50,100"]
    model = str(tmp_path / "digits-cnn" / "model.safetensors")
    result = run(app, ["cam", model, *arguments, "--samples", "2", "--layer", "relu_conv1"])
    assert result.exit_code == 0, result.output
    assert "2 images at 50, 100 % DP" in result.output
    read_png(tmp_path / "cam.png")
    for options, error in (
        ([model, *arguments, "--first", "9999"], ConfigError),
        ([str(tmp_path / "digits-mlp" / "model.safetensors"), *arguments], UnsupportedOp),
    ):
        assert isinstance(run(app, ["cam", *options]).exception, error)
