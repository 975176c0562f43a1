"""Channels in another order, or fewer of them: what stays the same, and what is refused."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import KINDS, images, plain_module
from torch import Tensor, nn

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.copies import PerRange
from tesla_embed.nn.layers import IncompleteConv2d, IncompleteLinear, ScalableLayer
from tesla_embed.nn.norm import norms, recalibrate
from tesla_embed.nn.order import reorder, shrink
from tesla_embed.nn.scalable import channel_groups, make_scalable, set_dp, set_widths

kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 10_000)
profiles = st.sampled_from(["all-one", "linear", "harmonic"])
quick = settings(max_examples=25, deadline=None, derandomize=True)


def shuffled(module: nn.Module, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    groups = channel_groups(module).items()
    return {
        name: torch.randperm(group.size, generator=generator)
        for name, group in groups
        if group.scalable
    }


def answer(module: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = module(images())
    return result


@quick
@given(kinds, seeds, profiles)
def test_the_complete_module_computes_the_same(kind: str, seed: int, profile: str) -> None:
    module = make_scalable(plain_module(kind, seed), images(), profile=profile)
    before = copy.deepcopy(module.state_dict())
    found, want = answer(reorder(module, shuffled(module, seed))), answer(module)
    torch.testing.assert_close(found, want, atol=2e-6 * max(1, float(want.abs().max())), rtol=1e-5)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items()), "a copy"


@quick
@given(kinds, seeds)
def test_any_order_moves_channels_below(kind: str, seed: int) -> None:
    """What is active at a width is the new order's leading part: the same set, the same sums."""
    module = make_scalable(plain_module(kind, seed), images(), profile="all-one")
    orders = shuffled(module, seed)
    widths = {name: 1 + seed % len(order) for name, order in orders.items()}
    moved = reorder(module, orders)
    set_widths(moved, widths)
    for layer in moved.modules():
        if isinstance(layer, ScalableLayer):
            layer.dp = 100  # the statistics of all channels, as the other side has them
    for name, order in orders.items():
        _silence(module, name, order[widths[name] :])
    want = answer(module)
    scale = 2e-6 * max(1, float(want.abs().max()))
    torch.testing.assert_close(answer(moved), want, atol=scale, rtol=1e-5)


def _silence(module: nn.Module, group: str, channels: Tensor) -> None:
    """Let nobody who mixes channels read these."""
    for layer in module.modules():
        if isinstance(layer, IncompleteLinear) or (
            isinstance(layer, IncompleteConv2d) and not layer.depthwise
        ):
            start = 0
            for part in layer.source.parts:
                if part.group.name == group:
                    grouped = layer.weight.data[:, start : start + part.size]
                    shape = (len(grouped), part.group.size, part.repeat, -1)
                    grouped.view(shape)[:, channels] = 0.0
                start += part.size


def test_sums_of_integers_are_the_same_to_the_bit() -> None:
    """Order of additions does not matter where nothing is rounded."""
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6(),
        nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4),
    )  # fmt: skip
    for parameter in plain.parameters():
        nn.init.uniform_(parameter, -4, 4).data.round_()
    module = make_scalable(plain, images(), profile="all-one")
    x = images().round()
    assert torch.equal(reorder(module, shuffled(module, 1))(x), module(x))


def test_elementwise_results_only_change_places() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    module = make_scalable(plain.eval(), images(), profile="linear")
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))
    moved = reorder(module, {"0": order})
    inputs: list[Tensor] = []
    for one in (module, moved):
        one.get_submodule("2").register_forward_hook(lambda _m, _i, out: inputs.append(out))
        answer(one)
    want = inputs[0][:, order]
    gamma = moved.get_submodule("1").profile
    before = module.get_submodule("1").profile
    assert isinstance(gamma, Tensor) and isinstance(before, Tensor)
    assert torch.equal(gamma, before), "the profile belongs to the places"
    torch.testing.assert_close(inputs[1], want, atol=0, rtol=5e-7)
    plain_moved = reorder(make_scalable(plain, images(), profile="all-one"), {"0": order})
    plain_moved.get_submodule("2").register_forward_hook(lambda _m, _i, out: inputs.append(out))
    answer(plain_moved)
    with torch.no_grad():
        assert torch.equal(inputs[2], plain[:3](images())[:, order])


def test_statistics_below_100_percent_are_forgotten() -> None:
    module = make_scalable(plain_module("residual", 3), images(), rows=(50, 100), profile="all-one")
    recalibrate(module, lambda: [images(8)], (50, 100))
    moved = reorder(module, shuffled(module, 1))
    assert all(norm.batches.tolist() == [0, 1] for norm in norms(moved))
    assert all(norm.row(50) == 1 for norm in norms(moved))
    assert all(norm.row(50) == 0 for norm in norms(module))
    set_dp(moved, 50)
    assert answer(moved).isfinite().all()


@quick
@given(kinds, seeds, profiles)
def test_shrinking_keeps_what_was_active_to_the_bit(kind: str, seed: int, profile: str) -> None:
    module = make_scalable(plain_module(kind, seed), images(), profile=profile)
    groups = channel_groups(module)
    widths = {n: 1 + (seed + i) % g.size for i, (n, g) in enumerate(groups.items()) if g.scalable}
    set_widths(module, widths)
    for layer in module.modules():
        if isinstance(layer, ScalableLayer):
            layer.dp = 100
    want = answer(module)
    narrow = copy.deepcopy(module)
    shrink(narrow, widths)
    assert torch.equal(answer(narrow), want)
    left = {name: group.size for name, group in channel_groups(narrow).items() if group.scalable}
    assert left == widths
    set_dp(narrow, 40)
    assert answer(narrow).isfinite().all(), "it scales further"


def test_bad_orders_and_widths_are_refused() -> None:
    module = make_scalable(plain_module("residual", 3), images())
    before = copy.deepcopy(module.state_dict())
    size = channel_groups(module)["stem"].size
    for orders, word in [
        ({"nowhere": torch.arange(3)}, "scalable are stem, conv2"),
        ({"fc": torch.arange(4)}, "does not scale"),
        ({"stem": torch.arange(size - 1)}, f"each of its {size} channels once"),
        ({"stem": torch.zeros(size, dtype=torch.int64)}, "channels once"),
    ]:
        with pytest.raises(ConfigError, match=word):
            reorder(module, orders)
    for widths, word in [
        ({"nowhere": 1}, "not known"),
        ({"fc": 4}, "fc does not scale"),
        ({"stem": 0}, "0 cannot be active"),
        ({"stem": size + 1}, f"{size + 1} cannot be active"),
    ]:
        with pytest.raises(ConfigError, match=word):
            shrink(module, widths)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


def test_copies_have_no_single_order() -> None:
    module = PerRange([nn.Linear(2, 2), nn.Linear(2, 2)], (50, 100))
    wrapped = nn.Sequential(module)
    with pytest.raises(UnsupportedOp, match=r"keeps 2 copies of 0, .* to sort or prune"):
        reorder(wrapped, {})
    with pytest.raises(UnsupportedOp, match="keeps 2 copies"):
        shrink(wrapped, {})


def test_a_profile_with_zeros_is_no_place_for_a_channel() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    module = make_scalable(plain, images(), profile="linear")
    with torch.no_grad():
        module.get_submodule("0").profile[2:] = 0.0  # type: ignore[index]
    swapped = reorder(module, {"0": torch.tensor([1, 0, 3, 2])})
    torch.testing.assert_close(answer(swapped), answer(module))
    with pytest.raises(ConfigError, match="the profile has zeros"):
        reorder(module, {"0": torch.tensor([2, 1, 0, 3])})
