"""Making ordinary modules scalable: what stays, what shrinks, and what is refused."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import KINDS, images, plain_module
from torch import Tensor, nn

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.ir.graph import active_channels
from tesla_embed.nn.layers import IncompleteConv, IncompleteLinear, ScalableLayer
from tesla_embed.nn.profiles import make_profile
from tesla_embed.nn.scalable import channel_groups, make_scalable, set_dp, set_widths

kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 10_000)
quick = settings(max_examples=25, deadline=None, derandomize=True)


@quick
@given(kinds, seeds)
def test_complete_module_with_ones_is_the_plain_one_to_the_bit(kind: str, seed: int) -> None:
    plain = plain_module(kind, seed)
    scalable = make_scalable(plain, images(), profile="all-one")
    assert torch.equal(scalable(images()), plain(images()))


@quick
@given(kinds, seeds, st.sampled_from(["linear", "harmonic"]))
def test_complete_module_computes_the_plain_function(kind: str, seed: int, profile: str) -> None:
    """Not to the bit: a weight is divided by γ, and its product multiplied by γ again."""
    plain = plain_module(kind, seed)
    want = plain(images()).detach()
    found = make_scalable(plain, images(), profile=profile)(images()).detach()
    torch.testing.assert_close(found, want, atol=1e-6 * max(1, float(want.abs().max())), rtol=1e-5)


def poison(module: nn.Module, dp: int) -> None:
    """Make every weight that must not be used at `dp` percent a NaN."""
    for layer in module.modules():
        if not isinstance(layer, ScalableLayer):
            continue
        rows = active(layer.target.parts, dp)
        columns = active(layer.source.parts, dp)
        for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
            if name in ("batches", "profile"):
                continue
            with torch.no_grad():
                if name in ("means", "variances"):
                    tensor[:, ~rows] = torch.nan
                    continue
                tensor[~rows] = torch.nan
                dense = isinstance(layer, IncompleteLinear) or (
                    isinstance(layer, IncompleteConv) and not layer.depthwise
                )
                if name == "weight" and dense:
                    tensor[:, ~columns] = torch.nan


def active(parts: tuple[object, ...], dp: int) -> Tensor:
    masks = []
    for part in parts:
        group = part.group  # type: ignore[attr-defined]
        mask = torch.arange(group.size) < group.width(dp)
        masks.append(mask.repeat_interleave(part.repeat))  # type: ignore[attr-defined]
    return torch.cat(masks)


@quick
@given(kinds, seeds, st.integers(1, 100), st.sampled_from([1, 4]))
def test_no_weight_outside_the_prefix_is_used(kind: str, seed: int, dp: int, multiple: int) -> None:
    module = make_scalable(plain_module(kind, seed), images(), multiple=multiple)
    set_dp(module, dp)
    module.train()
    module(images()).square().sum().backward()
    for layer in module.modules():
        if isinstance(layer, IncompleteLinear | IncompleteConv):
            assert layer.weight.grad is not None
            assert (layer.weight.grad[~active(layer.target.parts, dp)] == 0).all()
            if isinstance(layer, IncompleteLinear) or not layer.depthwise:
                assert (layer.weight.grad[:, ~active(layer.source.parts, dp)] == 0).all()
    module.eval()
    before = module(images())
    poison(module, dp)
    assert torch.equal(module(images()), before)
    assert torch.isfinite(before).all()


@quick
@given(kinds, seeds, st.integers(1, 100))
def test_widths_are_those_of_the_percentage(kind: str, seed: int, dp: int) -> None:
    module = make_scalable(plain_module(kind, seed), images(), multiple=2)
    set_dp(module, dp)
    for group in channel_groups(module).values():
        want = active_channels(group.size, dp, 2) if group.scalable else group.size
        assert group.active == want
    found = channel_groups(module)
    other = make_scalable(plain_module(kind, seed), images(), multiple=2)
    set_widths(other, {name: group.active for name, group in found.items()})
    other.train(), module.train()
    torch.manual_seed(0)
    want_output = module(images())
    torch.manual_seed(0)
    assert torch.equal(other(images()), want_output)


def test_groups_are_tied_and_named() -> None:
    groups = channel_groups(make_scalable(plain_module("residual", 1), images()))
    assert [n for n, g in groups.items() if g.scalable] == ["stem", "conv2"]
    groups = channel_groups(make_scalable(plain_module("residual", 1), images(), fixed=["conv1"]))
    assert [n for n, g in groups.items() if g.scalable] == ["conv2"], "conv1 is tied to stem"
    groups = channel_groups(make_scalable(plain_module("depthwise", 1), images()))
    assert [n for n, g in groups.items() if g.scalable] == ["stem", "pw1", "pw2"]
    module = make_scalable(plain_module("concat", 1), images())
    assert [n for n, g in channel_groups(module).items() if g.scalable] == [
        "conv1", "conv2", "conv3", "fc1",
    ]  # fmt: skip


def test_profile_is_applied_once_and_after_batch_norm() -> None:
    module = make_scalable(plain_module("residual", 3), images(), preserve="weights")
    found = {n for n, b in module.named_buffers() if n.endswith("profile") and b is not None}
    assert found == {f"{n}.profile" for n in ("norm0", "norm1", "norm2", "shortcut", "after")}, (
        "the convolutions before batch norm have none, the shortcut has its own"
    )
    module = make_scalable(plain_module("depthwise", 3), images(), preserve="weights")
    found = {n for n, b in module.named_buffers() if n.endswith("profile") and b is not None}
    assert found == {f"{n}.profile" for n in ("stem", "norm", "pw1", "pw2")}
    norm = module.get_submodule("norm")
    gamma = make_profile("linear", len(norm.profile) // 2).repeat_interleave(2)  # type: ignore[arg-type]
    assert torch.equal(norm.profile, gamma)  # type: ignore[arg-type]


def test_preserving_weights_lets_the_profile_act() -> None:
    plain = plain_module("chain", 3)
    module = make_scalable(plain, images(), preserve="weights")
    assert torch.equal(module.conv2.weight, plain.conv2.weight)  # type: ignore[arg-type, union-attr]
    assert not torch.allclose(module(images()), plain(images()))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_module_itself_stays_as_it_was(kind: str) -> None:
    plain = plain_module(kind, 5).train()
    before, modes = copy.deepcopy(plain.state_dict()), [m.training for m in plain.modules()]
    module = make_scalable(plain, images())
    assert all(torch.equal(before[k], v) for k, v in plain.state_dict().items())
    assert [m.training for m in plain.modules()] == modes
    assert all(m.training for m in module.modules())
    assert not any(isinstance(m, ScalableLayer) for m in plain.modules())


def test_a_copy_has_widths_of_its_own() -> None:
    module = make_scalable(plain_module("residual", 1), images())
    twin = copy.deepcopy(module)
    set_dp(twin, 10)
    assert all(group.active == group.size for group in channel_groups(module).values())
    assert module(images()).shape == twin(images()).shape


def test_one_dimensional_convolutions() -> None:
    plain = nn.Sequential(
        nn.Conv1d(2, 6, 3, padding="same"), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(6, 6, 3, groups=6), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 3),
    ).eval()  # fmt: skip
    x = torch.randn(4, 2, 12)
    module = make_scalable(plain, x, profile="all-one")
    assert torch.equal(module(x), plain(x))
    set_dp(module, 50)
    assert module(x).shape == (4, 3)


class Slices(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x[:, ::2] + x[:, 1::2]
        result: Tensor = self.fc(torch.cat([x, x], 1).mean((2, 3)))
        return result


class Written(Slices):
    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.conv(x), 1)
        result: Tensor = self.fc(x.view(-1, 8))
        return result


class Branches(Slices):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = -x
        result: Tensor = self.fc(self.conv(x).mean((2, 3)))
        return result


class Shuffles(Slices):
    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.conv(x), 1).permute(0, 2, 3, 1)
        result: Tensor = self.fc(x.flatten(1))
        return result


class Gates(Slices):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * x.sigmoid()
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


class Loose(Slices):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc(F.conv2d(x, self.conv.weight).mean((2, 3)))
        return result


def sequence(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


REFUSED: list[tuple[nn.Module, str]] = [
    (Slices(), r"getitem \(getitem, test_scalable\.py:\d+\): is not supported; supported are"),
    (Written(), r"view \(view, test_scalable\.py:\d+\): writes out the number of features"),
    (Branches(), r"Branches cannot be traced .*; its forward must not depend"),
    (Shuffles(), r"permute \(permute, test_scalable\.py:\d+\): reorders channels"),
    (Gates(), r"mul \(mul, test_scalable\.py:\d+\): combines two tensors"),
    (Loose(), r"conv_weight \(get_attr.*\): is not supported"),
    (sequence(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Flatten(), nn.Linear(128, 2)),
     r"1 \(Conv2d.*\): has 2 groups over 8 channels"),
    (sequence(nn.Conv2d(3, 8, 3, padding_mode="circular"), nn.Flatten(), nn.Linear(288, 2)),
     r"0 \(Conv2d.*\): pads with 'circular'"),
    (sequence(nn.Conv2d(3, 8, 3), nn.LayerNorm([8, 6, 6]), nn.Flatten(), nn.Linear(288, 2)),
     r"1 \(LayerNorm.*\): is not supported"),
    (sequence(nn.Conv2d(3, 8, 3), nn.Softmax(1), nn.Flatten(), nn.Linear(288, 2)),
     r"1 \(Softmax.*\): is not the last operation"),
    (sequence(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.Flatten(),
              nn.Linear(288, 2)), r"1 \(BatchNorm2d.*\): keeps no running statistics"),
    (sequence(nn.Linear(8, 3)), r"0 \(Linear.*\): works on vectors"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "reason"), REFUSED)
def test_what_cannot_be_converted_is_named_and_left_alone(module: nn.Module, reason: str) -> None:
    before = [(name, type(part)) for name, part in module.named_modules()]
    with pytest.raises(UnsupportedOp, match=reason):
        make_scalable(module, images())
    assert [(name, type(part)) for name, part in module.named_modules()] == before


def test_options_and_examples_that_cannot_be() -> None:
    plain = plain_module("chain", 1)
    with pytest.raises(ConfigError, match="no layer 'fc9' makes channels; layers are conv1"):
        make_scalable(plain, images(), fixed=["fc9"])
    with pytest.raises(ConfigError, match="does not run on an example of shape"):
        make_scalable(plain, torch.zeros(1, 5, 8, 8))
    with pytest.raises(ConfigError, match="ascend to 100"):
        make_scalable(plain, images(), rows=[50])
    module = make_scalable(plain, images())
    with pytest.raises(UnsupportedOp, match="conv1 is scalable already"):
        make_scalable(module, images())
    for widths, word in (({"x9": 1}, "scalable groups are"), ({"conv1": 99}, "99 cannot be")):
        with pytest.raises(ConfigError, match=word):
            set_widths(module, widths)
