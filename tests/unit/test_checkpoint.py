"""Float checkpoints: whole ones come back exactly, all others are refused with a reason."""

import contextlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tesla_embed.errors import ConfigError
from tesla_embed.nn.networks import Network, build
from tesla_embed.train.checkpoint import SCHEMA, CheckpointInfo, load_checkpoint, save_checkpoint
from tesla_embed.train.recipe import load_recipe

SMALL = ["hidden=[6]", "scalable=[true]", "seed=4", "profile=linear"]
INFO = CheckpointInfo(
    recipe=load_recipe("digits-mlp", SMALL), input_shape=(8, 8, 1), classes=10, data="digits"
)


def make_network() -> Network:
    return build(INFO.recipe.network, INFO.input_shape, INFO.classes, INFO.recipe.profile, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", make_network(), INFO)
    return tmp_path / "model.safetensors"


def rewrite(path: Path, header: dict[str, object] | None = None, **tensors: torch.Tensor) -> None:
    """Write a well-formed file with another header or other tensors."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["tesla-embed"])
        state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    state |= tensors
    text = json.dumps(metadata | (header or {}))
    content = safetensors.torch.save(state, {"tesla-embed": text})
    path.write_bytes(content)


def fails(path: Path, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_round_trip(path: Path) -> None:
    loaded = load_checkpoint(path)
    assert loaded.info == INFO and loaded.info.schema == SCHEMA
    want, found = make_network().state_dict(), loaded.network.state_dict()
    assert want.keys() == found.keys()
    assert all(torch.equal(want[name], found[name]) for name in want)
    x = torch.rand(3, 8, 8, 1)
    assert torch.equal(loaded.network(x), make_network()(x))
    assert all(p.requires_grad and p.is_leaf for p in loaded.network.parameters())
    provenance = loaded.info.provenance()
    assert (provenance.recipe, provenance.seed, provenance.profile) == ("digits-mlp", 4, "linear")


def test_equal_networks_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "again", make_network(), INFO)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_missing_and_foreign_files(path: Path, tmp_path: Path) -> None:
    fails(tmp_path / "none", "does not exist")
    fails(tmp_path, "does not exist")
    path.write_bytes(safetensors.torch.save({"a": torch.ones(1)}))
    fails(path, "of another program")


@pytest.mark.parametrize("keep", [0, 1, 8, 100, 900, -1])
def test_truncated(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    fails(path, "truncated or damaged")


HEADERS: list[tuple[dict[str, object], str]] = [
    ({"schema": "tesla-embed/model/1"}, "schema tesla-embed/model/1"),
    ({"schema": 3}, "damaged"),
    ({"recipe": {}}, "malformed"),
    ({"input_shape": []}, "malformed"),
    ({"input_shape": [0, 8, 1]}, "malformed"),
    ({"input_shape": [8, 9, 1]}, "needs torch.float32 \\(6, 72\\)"),
    ({"input_shape": [65535, 65535, 65535]}, "needs torch.float32"),
    ({"input_shape": [65536, 8, 1]}, "malformed"),
    ({"classes": 11}, "needs torch.float32 \\(11,"),
    ({"classes": -1}, "malformed"),
]


@pytest.mark.parametrize(("header", "word"), HEADERS)
def test_headers_that_lie(path: Path, header: dict[str, object], word: str) -> None:
    rewrite(path, header)
    fails(path, word)


def test_tensors_that_do_not_fit(path: Path) -> None:
    weight = make_network().state_dict()["body.fc1.weight"]
    rewrite(path, **{"body.fc1.weight": torch.full_like(weight, torch.nan)})
    fails(path, "tensor body.fc1.weight .* not finite")
    rewrite(path, **{"body.fc1.weight": weight.double()})
    fails(path, "body.fc1.weight .* torch.float64")
    rewrite(path, **{"body.fc1.weight": weight[:, :5].contiguous()})
    fails(path, r"body.fc1.weight .* \(6, 5\)")
    rewrite(path, **{"body.fc1.weight": weight, "body.fc9.weight": weight.clone()})
    fails(path, "unknown tensor body.fc9.weight")


def test_missing_tensor(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"body.fc2.profile", b"body.fc2.profits"))
    fails(path, "lacks tensor body.fc2.profile")


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.integers(0, 2000), value=st.integers(0, 255))
def test_a_damaged_byte_never_leaks_another_error(path: Path, position: int, value: int) -> None:
    content = bytearray(path.read_bytes())
    content[position % len(content)] = value
    damaged = path.with_name("damaged")
    damaged.write_bytes(content)
    with contextlib.suppress(ConfigError):
        load_checkpoint(damaged)
