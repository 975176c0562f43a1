"""Importance of channels: formulas against experiments, ties, dead channels, refusals."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import KINDS, images, plain_module
from torch import Tensor, nn

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.copies import PerRange
from tesla_embed.nn.importance import MEASURES, dead_probability, importance
from tesla_embed.nn.moments import Moments, clipped, expected, normal
from tesla_embed.nn.order import reorder
from tesla_embed.nn.propagate import spans_of
from tesla_embed.nn.scalable import channel_groups, make_scalable
from tesla_embed.nn.steps import trace

quick = settings(max_examples=25, deadline=None, derandomize=True)
DRAWS = 400_000


def single(mean: float, deviation: float) -> Moments:
    both = torch.tensor([mean, deviation], dtype=torch.float64)
    return normal(both[:1], both[1:])


def draws(seed: int = 0) -> Tensor:
    return torch.randn(DRAWS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@quick
@given(st.floats(-4, 8), st.floats(0.05, 4), st.sampled_from([math.inf, 6.0]))
def test_clipping_against_monte_carlo(mean: float, deviation: float, high: float) -> None:
    found = clipped(single(mean, deviation), high)
    sample = (mean + deviation * draws()).clamp(0, high)
    error = 5 * max(deviation, 0.1) / math.sqrt(DRAWS)
    assert float(found.mean) == pytest.approx(float(sample.mean()), abs=error)
    assert float(found.zero) == pytest.approx(float((sample == 0).double().mean()), abs=5e-3)
    spread = float((sample - sample.mean()).square().std()) / math.sqrt(DRAWS)
    assert float(found.variance) == pytest.approx(float(sample.var()), abs=5 * spread + 1e-9)


@pytest.mark.parametrize(
    ("mean", "zero", "out"), [(-1.0, 1.0, 0.0), (0.0, 1.0, 0.0), (2.0, 0.0, 2.0), (9.0, 0.0, 6.0)]
)
def test_constants_are_clipped_to_constants(mean: float, zero: float, out: float) -> None:
    found = clipped(single(mean, 0.0), 6.0)
    assert (float(found.zero), float(found.mean), float(found.variance)) == (zero, out, 0.0)


class Moment(nn.Module):
    """Batch norm with moments that the test knows, then all that carries moments on."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(2, 4)
        self.norm, self.other = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
        self.mix, self.out = nn.Linear(4, 5), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        a, b = F.relu(self.norm(x)), F.relu6(self.other(x))
        result: Tensor = self.out(torch.cat([a + b, F.relu(self.mix(b))], 1))
        return result


def test_moments_along_a_network_against_monte_carlo() -> None:
    torch.manual_seed(1)
    plain = Moment().eval()
    for norm in (plain.norm, plain.other):
        nn.init.normal_(norm.bias)
        nn.init.uniform_(norm.weight, -2, 2)
    module = make_scalable(plain, torch.zeros(2, 2), profile="all-one")
    traced = trace(module, torch.zeros(2, 2))
    found = expected(traced, spans_of(traced))
    z = [torch.stack([draws(10 * i + c) for c in range(4)], 1) for i in range(2)]
    norms = (plain.norm, plain.other)
    a = (z[0] * norms[0].weight + norms[0].bias).clamp(min=0)
    b = (z[1] * norms[1].weight + norms[1].bias).clamp(0, 6)
    mixed = plain.double().mix(b).detach()
    want = {"norm": None, "add": a + b, "mix": mixed, "cat": torch.cat([a + b, mixed.relu()], 1)}
    names = [step.name for step in traced.steps]
    assert found[names.index("x")].mean.isnan().all() and found[1].variance.isnan().all()
    for name, sample in want.items():
        if sample is None:
            continue
        sample = sample.detach()
        moments = found[names.index(name)]
        slack = 0.12 if name == "cat" else 0.01  # a sum of four terms is not quite normal
        torch.testing.assert_close(moments.mean, sample.mean(0), atol=slack, rtol=0.02)
        torch.testing.assert_close(moments.variance, sample.var(0), atol=slack, rtol=0.1)
    both = found[names.index("add")].zero
    torch.testing.assert_close(both, (a + b == 0).double().mean(0), atol=0.01, rtol=0)


def network(*layers: nn.Module, profile: str = "all-one") -> nn.Module:
    return make_scalable(nn.Sequential(*layers).eval(), images(), profile=profile)


def normed(channels: int, shift: list[float], scale: list[float]) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.bias.data, norm.weight.data = torch.tensor(shift), torch.tensor(scale)
    return norm


@pytest.mark.parametrize("profile", ["all-one", "linear"])
def test_importance_is_the_share_of_the_signal(profile: str) -> None:
    """Against what a layer sums up from inputs that are drawn as batch norm promises."""
    torch.manual_seed(0)
    norm = normed(4, [0.5, -1.0, 2.0, -3.0], [1.0, -0.5, 0.1, 2.0])
    mixer = nn.Conv2d(4, 3, 3)
    module = network(nn.Conv2d(3, 4, 1), norm, nn.ReLU(), mixer, profile=profile)
    (found,) = importance(module, images()).values()
    x = torch.stack([draws(c) for c in range(4)], 1) * norm.weight + norm.bias
    used = mixer.weight.detach().double().square().sum((0, 2, 3))
    signal = x.relu().var(0) * used
    torch.testing.assert_close(found, (signal / signal.sum()).detach(), atol=5e-3, rtol=0.02)


def test_l1_is_the_share_of_the_absolute_weights() -> None:
    conv, depthwise = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 4, 3, groups=2)
    conv.weight.data = torch.tensor([[1.0, -2, 3], [0, 0, 2]]).reshape(2, 3, 1, 1)
    nn.init.zeros_(depthwise.weight)
    depthwise.weight.data[[0, 1, 2], 0, 0, 0] = torch.tensor([1.0, -1.0, 6.0])
    module = network(conv, depthwise, nn.ReLU(), nn.Conv2d(4, 2, 1))
    (found,) = importance(module, images(), "l1").values()
    assert found.tolist() == [6 / 8 + 2 / 8, 2 / 8 + 6 / 8]


@quick
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 10_000), st.sampled_from(list(MEASURES)))
def test_ties_are_respected(kind: str, seed: int, by: str) -> None:
    """One number per channel of a group, whoever makes it; and it moves with the channel."""
    module = make_scalable(plain_module(kind, seed), images(), profile="all-one")
    try:
        found = importance(module, images(), by)
    except UnsupportedOp:
        assert kind in ("chain", "depthwise") and by == "operation-aware"
        return
    sizes = {name: group.size for name, group in channel_groups(module).items() if group.scalable}
    assert {name: len(values) for name, values in found.items()} == sizes
    assert all(bool((values >= 0).all()) for values in found.values())
    generator = torch.Generator().manual_seed(seed)
    orders = {name: torch.randperm(size, generator=generator) for name, size in sizes.items()}
    moved = importance(reorder(module, orders), images(), by)
    for name, order in orders.items():
        torch.testing.assert_close(moved[name], found[name][order])


class Tied(nn.Module):
    """An addition ties `first` and `second`; `third` reads before it, `last` after it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 2, 1), normed(2, [-9.0, 0.0], [1.0, 1.0])
        self.second, self.norm2 = nn.Conv2d(2, 2, 1), normed(2, [0.0, -9.0], [1.0, 1.0])
        self.last = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.first(x)))
        result: Tensor = self.last(x + F.relu(self.norm2(self.second(x))))
        return result


def test_members_of_a_group_add_up() -> None:
    """Channel 0 is dead before the addition, channel 1 in the branch: each lives elsewhere."""
    module = Tied().eval()
    nn.init.ones_(module.second.weight)
    nn.init.ones_(module.last.weight)
    scalable = make_scalable(module, images(), profile="all-one")
    (found,) = importance(scalable, images()).values()
    torch.testing.assert_close(found, torch.tensor([0.0 + 0.5, 1.0 + 0.5], dtype=torch.float64))
    (dead,) = dead_probability(scalable, images()).values()
    torch.testing.assert_close(dead, torch.tensor([0.5, 0.5], dtype=torch.float64))


def test_dead_channels_are_found() -> None:
    norm = normed(4, [-3.0, 0.0, 1.0, 0.0], [1.0, 1.0, -1.0, 0.0])
    layers = (nn.Conv2d(3, 4, 1), norm, nn.ReLU(), nn.MaxPool2d(8), nn.Flatten(), nn.Linear(4, 2))
    (found,) = dead_probability(network(*layers), images()).values()
    tail = 0.5 * math.erfc(3 / math.sqrt(2))
    upper = 0.5 * math.erfc(-1 / math.sqrt(2))
    want = torch.tensor([1 - tail, 0.5, 1 - upper, 1.0], dtype=torch.float64)
    torch.testing.assert_close(found, want)


def test_what_is_dead_before_a_depthwise_convolution_is_judged_behind_it() -> None:
    """Its bias and batch norm may bring a channel back to life."""
    before, after = normed(2, [-9.0, 0.0], [0.1, 1.0]), normed(2, [0.0, -9.0], [1.0, 0.1])
    middle = (nn.Conv2d(2, 2, 3, groups=2), after, nn.ReLU(), nn.Conv2d(2, 2, 1))
    module = network(nn.Conv2d(3, 2, 1), before, nn.ReLU(), *middle)
    (found,) = dead_probability(module, images()).values()
    torch.testing.assert_close(found, torch.tensor([0.5, 1.0], dtype=torch.float64))


def test_nothing_is_guessed() -> None:
    unknown = network(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
    for ask in (importance, dead_probability):
        with pytest.raises(UnsupportedOp, match=r"^2 \(.*channels of 0, .* use the measure l1"):
            ask(unknown, images())
    importance(unknown, images(), "l1")
    odd = network(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Sigmoid(), nn.Conv2d(2, 2, 1))
    with pytest.raises(UnsupportedOp, match="nothing is known"):
        importance(odd, images())
    with pytest.raises(ConfigError, match="'l2' is not known; choose one of operation-aware, l1"):
        importance(unknown, images(), "l2")
    copies = nn.Sequential(PerRange([nn.Linear(2, 2), nn.Linear(2, 2)], (50, 100)))
    with pytest.raises(UnsupportedOp, match="keeps 2 copies"):
        importance(copies, images())
