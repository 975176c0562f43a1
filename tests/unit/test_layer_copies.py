"""Algorithms that keep several copies of layers: multiple-profile IDP and individual networks."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import DEEP, batch, network_for, small

from tesla_embed.data import DataSet, load_data
from tesla_embed.nn.copies import PerRange, plain_at
from tesla_embed.nn.layers import IncompleteLayer, IncompleteLinear, set_dp
from tesla_embed.train import loop
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.algorithms.mp_idp import MultipleProfileIdp
from tesla_embed.train.evaluate import evaluate
from tesla_embed.train.loop import train


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits")


# --- multiple-profile IDP -----------------------------------------------------------------------


def test_mp_idp_never_touches_lower_ranges(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small("mp-idp", *DEEP)
    real = loop.RunState.finish_stage
    ends: list[dict[str, torch.Tensor]] = []

    def finish(state: loop.RunState) -> None:
        real(state)
        ends.append({name: value.clone() for name, value in state.network.state_dict().items()})

    monkeypatch.setattr(loop.RunState, "finish_stage", finish)
    network = train(recipe, digits, tmp_path).network
    middle, ranges = network.body.get_submodule("fc2"), recipe.mp_idp.ranges
    assert isinstance(middle, IncompleteLayer) and len(ends) == 3
    for lower, (earlier, later) in zip(ranges, itertools.pairwise(ends), strict=False):
        rows, terms = middle.target.width(lower), middle.source.width(lower)
        assert 0 < rows < 10 and 0 < terms < 12
        weights = (end["body.fc2.weight"] for end in (earlier, later))
        old, new = (weight[:rows, :terms] for weight in weights)
        assert torch.equal(old, new), "frozen bit for bit"
        assert torch.equal(*(end["body.fc2.bias"][:rows] for end in (earlier, later)))
        assert not torch.equal(earlier["body.fc2.weight"], later["body.fc2.weight"])
    for index in range(3):
        for layer in ("fc1", "fc3"):
            name = f"body.{layer}.copies.{index}.weight"
            changed = [not torch.equal(a[name], b[name]) for a, b in itertools.pairwise(ends)]
            assert changed == [index == 1, index == 2], "a range trains its own layers only"


def test_lower_ranges_answer_as_before_the_higher_were_trained(
    digits: DataSet, tmp_path: Path
) -> None:
    x = torch.from_numpy(digits.test.floats(slice(0, 20)))
    answers = []
    for folder, ranges in (("few", "[30, 100]"), ("more", "[30, 60, 100]")):
        recipe = small("mp-idp", *DEEP, f"ranges={ranges}")
        network = train(recipe, digits, tmp_path / folder).network
        set_dp(network, 25)
        answers.append(network(x))
    assert torch.equal(*answers)


@given(dp=st.integers(1, 100))
def test_a_percentage_uses_the_smallest_range_that_contains_it(dp: int) -> None:
    network = network_for(small("mp-idp", *DEEP))
    first = network.body.get_submodule("fc1")
    assert isinstance(first, PerRange) and first.bounds == (30, 60, 100)
    index = 0 if dp <= 30 else 1 if dp <= 60 else 2
    assert first.serving(dp) is first.copies[index]
    set_dp(network, dp)
    x, _ = batch()
    plain = plain_at(network, dp)
    assert not any(isinstance(module, PerRange) for module in plain.modules())
    assert torch.equal(network(x), plain(x))


def test_profiles_of_ranges_are_joined_and_never_increase() -> None:
    recipe = small("mp-idp", 'profiles=["linear", "harmonic", "all-one"]', "hidden=[10]")
    network = network_for(recipe)
    last = network.body.get_submodule("fc2")
    assert isinstance(last, PerRange)
    want = [1, 0.9, 0.8, 1 / 4, 1 / 5, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6]
    for layer in last.copies:
        assert isinstance(layer, IncompleteLinear) and layer.profile is not None
        assert layer.profile.tolist() == pytest.approx(want)
    assert isinstance(make_algorithm(recipe), MultipleProfileIdp)


# --- individual ---------------------------------------------------------------------------------


def test_individual_networks_are_plain_and_as_wide_as_their_region(
    digits: DataSet, tmp_path: Path
) -> None:
    network = train(small("individual", *DEEP), digits, tmp_path).network
    shapes = {
        dp: [tuple(m.weight.shape) for m in plain_at(network, dp).modules()
             if isinstance(m, IncompleteLayer)]
        for dp in (20, 21, 50, 100)
    }  # fmt: skip
    assert shapes[20] == [(3, 64), (2, 3), (10, 2)]
    assert shapes[21] == shapes[50] == [(6, 64), (5, 6), (10, 5)]
    assert shapes[100] == [(12, 64), (10, 12), (10, 10)]
    assert all(getattr(m, "profile", None) is None for m in network.modules())
    found = evaluate(network, digits.test, (5, 20, 100))
    assert found.macs == {dp: 64 * a + a * b + 10 * b for dp, a, b in
                          ((5, 3, 2), (20, 3, 2), (100, 12, 10))}  # fmt: skip
