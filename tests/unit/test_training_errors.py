"""Whatever cannot be trained: one line that says what to do, the documented code, nothing left."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from shell import call
from torch import Tensor, nn

from tesla_embed.data import DataSet, Split, load_data, split_validation
from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.profiles import PROFILES
from tesla_embed.nn.scalable import make_scalable
from tesla_embed.train import loop
from tesla_embed.train.algorithms import ALGORITHMS
from tesla_embed.train.algorithms.base import Algorithm
from tesla_embed.train.recipe import load_recipe

COUNT = 40
Arrays = dict[str, np.ndarray]


def arrays(shape: tuple[int, ...] = (5,)) -> Arrays:
    x = np.random.default_rng(0).random((COUNT, *shape), np.float32)
    y = np.arange(COUNT) % 4
    return {"train_x": x, "train_y": y, "test_x": x.copy(), "test_y": y.copy()}


def changed(name: str, index: object, value: float, shape: tuple[int, ...] = (5,)) -> Arrays:
    made = arrays(shape)
    made[name] = made[name].copy()
    made[name][index] = value
    return made


def fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], says: str, made: Arrays | None, *words: str
) -> None:
    """`train` with this data ends with code 2 and one line with `says`, and writes nothing."""
    data, out = "digits", tmp_path / "out"
    if made is not None:
        folder = tmp_path / "data"
        folder.mkdir()
        for part in ("train", "test"):
            np.savez(folder / f"{part}.npz", x=made[f"{part}_x"], y=made[f"{part}_y"])
        data = f"npz:{folder}"
    capsys.readouterr()
    assert call("train", *words, "--data", data, "--out", out) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert [line for line in errors if line.startswith("error: ")] == errors[-1:]
    assert says in errors[-1] and "; " in errors[-1], "what, and what to do"
    assert not out.exists()


Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("says", "made"),
    [
        ("/data has label 4 outside 0 to 3", changed("test_y", 3, 4)),
        ("/data has label -1 outside 0 to 3", changed("test_y", 3, -1)),
        ("/data has labels -1 to 3", changed("train_y", 3, -1)),
        ("/data has labels 0 to 9 with gaps", changed("train_y", 3, 9)),
        ("with gaps", changed("train_y", np.arange(2, COUNT, 4), 3)),
        ("train.npz has values that are no finite", changed("train_x", (3, 2), np.nan)),
        ("test.npz has values that are no finite", changed("test_x", (3, 2), np.inf)),
    ],
)
def test_data_that_cannot_be(tmp_path: Path, capsys: Capture, says: str, made: Arrays) -> None:
    fails(tmp_path, capsys, says, made, "digits-mlp")


@pytest.mark.parametrize(
    ("recipe", "shape", "says"),
    [
        ("cifar10-vgg16", (5,), "kind vgg16 needs images (H, W, C), the data have (5,)"),
        ("cifar10-resnet8", (5,), "needs images (H, W, C), the data have (5,)"),
        ("kws-dscnn", (1, 1, 1), "too small for a network of kind dscnn"),
        ("digits-cnn", (2, 2, 1), "nothing is left of an image of (2, 2) pixels after conv2"),
        ("cifar10-vgg16", (1, 1, 1), "a batch of one value per channel"),
    ],
)
def test_data_of_the_wrong_shape(
    tmp_path: Path, capsys: Capture, recipe: str, shape: tuple[int, ...], says: str
) -> None:
    small = ["--set", "network.width=0.02"] if "vgg" in recipe else []
    odd = ["--set", "batch=7"]  # the last of 36 examples is alone
    fails(tmp_path, capsys, says, arrays(shape), recipe, *small, *odd)


@pytest.mark.parametrize("option", ["--algorithm", "--profile"])
def test_unknown_names_list_what_exists(tmp_path: Path, capsys: Capture, option: str) -> None:
    known = ALGORITHMS if option == "--algorithm" else PROFILES
    says = f"'nothing' is not known; choose one of {', '.join(known)}"
    fails(tmp_path, capsys, says, None, "digits-mlp", option, "nothing")


def test_a_loss_that_is_not_a_number(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backward(*_: object) -> float:
        return float("nan")

    monkeypatch.setattr(Algorithm, "backward", backward)
    says = "the loss is nan and on validation data 2."
    fails(tmp_path, capsys, says, None, "digits-mlp", "--set", "hidden=[12]")


def test_what_was_whole_before_the_loss_broke_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data = load_recipe("digits-mlp", ["max_epochs=3"]), load_data("digits")
    events: list[object] = []
    real = Algorithm.backward

    def backward(*arguments: object) -> float:
        return real(*arguments) if not events else float("nan")  # type: ignore[arg-type]

    monkeypatch.setattr(Algorithm, "backward", backward)
    with pytest.raises(ConfigError, match="after epoch 2 of stage 100 % DP"):
        loop.train(recipe, data, tmp_path, events.append)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "checkpoint.safetensors", "training.csv",
    ]  # fmt: skip
    monkeypatch.undo()
    assert loop.train(recipe, data, tmp_path).epochs > 3, "it goes on from the first epoch"


def data_set(made: Arrays, classes: int = 4) -> DataSet:
    train, test = (Split(made[f"{part}_x"], made[f"{part}_y"]) for part in ("train", "test"))
    return DataSet("made here", train, test, classes)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (data_set(arrays(), 5), "class 4 of made here has no training example"),
        (data_set(changed("train_y", 3, 7)), "training data .* label 7 in example 3, outside"),
        (data_set(changed("test_y", 3, -1)), "test data .* label -1 in example 3, outside 0 to 3"),
        (data_set(changed("train_x", (3, 2), np.nan)), "training data .* NaN .* example 3; clean"),
        (data_set(changed("test_x", (3, 2), np.inf)), "test data .* NaN or infinity in example 3"),
        (data_set({**arrays(), "test_x": arrays((6,))["test_x"]}), "belong together"),
        (data_set({**arrays(), "train_y": np.arange(9) % 4}), "belong together"),
    ],
)
def test_data_sets_made_in_a_program(tmp_path: Path, data: DataSet, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        loop.train(load_recipe("digits-mlp"), data, tmp_path)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_class_that_validation_took_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The split keeps one example of every class; were it to fail, training would say so."""
    made = changed("train_y", slice(4, None), 0)
    rest, held = split_validation(data_set(made).train, 0.4, 0)
    assert set(rest.y) == {0, 1, 2, 3} and set(held.y) == {0}

    def without(train: Split, share: float, seed: int) -> tuple[Split, Split]:
        return rest.subset(np.flatnonzero(rest.y != 2)), held

    monkeypatch.setattr(loop, "split_validation", without)
    with pytest.raises(ConfigError, match="class 2 of made here has no training example; add some"):
        loop.train(load_recipe("digits-mlp"), data_set(made), tmp_path)


class Lines(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("one\ntwo")


REFUSED: list[tuple[Callable[[], nn.Module], tuple[int, ...], type[Exception], str]] = [
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)), (2, 3, 8, 8), UnsupportedOp,
     r"^1 \(GroupNorm.*\): is not supported; supported are"),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()), (2, 4, 8, 8), ConfigError,
     r"Sequential does not run on an example of shape \(2, 4, 8, 8\): .*; give an example"),
    (lambda: nn.Sequential(nn.BatchNorm2d(3)), (2, 3), ConfigError,
     "does not run on an example .* expected 4D input"),
    (Lines, (2, 3), UnsupportedOp, "Lines cannot be traced .*; its forward must not depend"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "shape", "error", "says"), REFUSED)
def test_networks_that_cannot_be_made_scalable(
    make: Callable[[], nn.Module], shape: tuple[int, ...], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        make_scalable(make(), torch.zeros(shape))
    assert "\n" not in str(caught.value) and getattr(error, "exit_code", 0) == 2
