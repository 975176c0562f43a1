"""Export of modules that were not written for it, and refusals that name what is missing."""

import copy

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import images, plain_module
from torch import nn

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.ir.ops import Activation, Conv2D, Mean
from tesla_embed.ir.verify import verify
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import ChannelsFirst, set_dp
from tesla_embed.nn.networks import Network, build
from tesla_embed.nn.norm import norms, recalibrate
from tesla_embed.nn.scalable import make_scalable
from tesla_embed.train.recipe import load_recipe


def network_of(plain: nn.Module, profile: str = "linear") -> Network:
    """A plain module for `[B, 3, 8, 8]` as a network of images `(8, 8, 3)`."""
    whole = nn.Sequential(ChannelsFirst(), plain)
    example = images().permute(0, 2, 3, 1)
    return Network(make_scalable(whole, example, profile=profile, rows=(50, 100)), (8, 8, 3), 4)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from(["all-one", "linear"]))
def test_chains_compute_what_torch_computes_at_every_percentage(seed: int, profile: str) -> None:
    network = network_of(plain_module("chain", seed), profile).eval()
    x = images(8).permute(0, 2, 3, 1).contiguous()
    recalibrate(network, lambda: [x], (50, 100))
    model = same_at_every_percentage(network, x, (10, 30, 50, 77, 100))
    assert isinstance(model.graph.ops[-4], Mean)


def test_padding_strides_and_means_that_keep_no_dimensions() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 5, (2, 4), padding="same")
            self.two = nn.Conv2d(5, 6, (3, 1), stride=(2, 1), padding=(1, 0))
            self.drop, self.fc = nn.Dropout(0.5), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.nn.functional.avg_pool2d(self.one(x).relu(), (1, 2), stride=(1, 1))
            result: torch.Tensor = self.fc(self.drop(self.two(x)).mean([-1, -2]))
            return result

    network = network_of(Odd()).eval()
    model = verify(to_model(network, "net", (40, 100)))
    window = model.graph.ops[0].window if isinstance(model.graph.ops[0], Conv2D) else None
    assert window and (window.pad_top, window.pad_bottom, window.pad_left) == (0, 1, 1)
    x = torch.randn(4, 8, 8, 3)
    for region in model.regions:
        set_dp(network, region.dp)
        found = interpret_float(model, region, x.numpy())
        np.testing.assert_allclose(found, network(x).detach().numpy(), atol=1e-5)


def same_at_every_percentage(network: Network, x: torch.Tensor, dps: tuple[int, ...]) -> Model:
    """The verified float model, whose interpreter computes what PyTorch does at all of `dps`.

    Both count in float64, but the model stores folded weights and biases in float32: each of its
    numbers is up to half a step off. How far that may move the outputs depends on the network: 1e-7
    in a shallow one, 2e-5 where statistics of few examples divide by next to nothing. So the bound
    is measured: four times what half a step in every number of the network itself does.
    """
    model = verify(to_model(network, "net", dps))
    inputs = x.numpy().reshape(len(x), *model.graph.tensors[0].type.shape)
    exact = copy.deepcopy(network).double()
    moved = [half_a_step_off(exact, seed) for seed in range(3)]
    for region in model.regions:
        want = outputs(exact, x, region.dp)
        found = interpret_float(model, region, inputs).reshape(want.shape)
        largest = max(1.0, float(np.abs(want).max()))
        noise = max(np.abs(outputs(other, x, region.dp) - want).max() for other in moved)
        assert noise < 1e-4 * largest, "too badly conditioned to show a mistake"
        np.testing.assert_allclose(found, want, rtol=0, atol=4 * noise + 1e-7 * largest)
    return model


def half_a_step_off(exact: Network, seed: int) -> Network:
    """A float64 network with every number changed by up to half of float32's precision."""
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(exact)
    for values in (*other.parameters(), *other.buffers()):
        if values.is_floating_point():
            share = 2 * torch.rand(values.shape, generator=generator, dtype=torch.float64) - 1
            values.data.mul_(1 + share * 2.0**-24)
    return other


def outputs(network: Network, x: torch.Tensor, dp: int) -> npt.NDArray[np.float64]:
    """What a float64 network computes at `dp` percent."""
    set_dp(network, dp)
    with torch.no_grad():
        result: npt.NDArray[np.float64] = network(x.double()).numpy()
    return result


RECIPES = {
    "cifar10-resnet8": (16, 16, 3),
    "kws-dscnn": (20, 12, 1),
    "vww-mobilenet": (32, 32, 3),
    "ad-autoencoder": (40,),
    "cifar10-vgg16": (32, 32, 3),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("profile", ["all-one", "harmonic"])
def test_networks_of_the_recipes(name: str, profile: str) -> None:
    width = [] if name in ("ad-autoencoder", "kws-dscnn") else ["network.width=0.2"]
    recipe = load_recipe(name, width)
    shape = RECIPES[name]
    network = build(recipe.network, shape, 4, profile, 0).eval()
    # Of few examples statistics are next to singular, and float32 weights then round too coarsely.
    x = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    recalibrate(network, lambda: [x], (50, 100))
    same_at_every_percentage(network, x[:4], (10, 50, 77, 100))


@settings(max_examples=18, deadline=None, derandomize=True)
@given(
    st.sampled_from(["residual", "depthwise", "concat"]),
    st.integers(0, 10_000),
    st.sampled_from(["all-one", "linear"]),
)
def test_modules_that_branch(kind: str, seed: int, profile: str) -> None:
    """Additions, concatenations, depthwise filters, and batch norm after all of them."""
    network = network_of(plain_module(kind, seed), profile).eval()
    x = images(8).permute(0, 2, 3, 1).contiguous()
    recalibrate(network, lambda: [x], (50, 100))
    same_at_every_percentage(network, x, (10, 30, 50, 77, 100))


class Odd(nn.Module):
    """What is not fused: wide padding, a pool that counts it, ReLU on its own, sigmoid, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 6, 1, padding=1)
        self.holes = nn.Conv2d(6, 5, 3, padding=3, dilation=(2, 3))
        self.pool = nn.AvgPool2d(3, 2, padding=1)
        self.fc = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(torch.max_pool2d(self.wide(x), 2))
        x = torch.sigmoid(self.pool(self.holes(x)))
        return torch.softmax(self.fc(torch.cat([x, x], 1).mean((2, 3))), 1)


class Sequence(nn.Module):
    """Convolutions and pools over time, depthwise and dilated."""

    def __init__(self) -> None:
        super().__init__()
        self.input, self.one = ChannelsFirst(), nn.Conv1d(3, 6, 5, padding="same")
        self.two = nn.Conv1d(6, 6, 3, stride=2, padding=2, dilation=2, groups=6)
        self.norm, self.pool, self.fc = nn.BatchNorm1d(6), nn.MaxPool1d(3, 2, 1), nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.norm(torch.relu(self.one(self.input(x)))))
        result: torch.Tensor = self.fc(self.two(x).flatten(1))
        return result


def test_operations_that_stand_alone() -> None:
    network = network_of(Odd()).eval()
    model = same_at_every_percentage(network, torch.randn(4, 8, 8, 3), (40, 100))
    found = {type(op).__name__ for op in model.graph.ops}
    assert found >= {"Pad", "Rescale", "Logistic", "Softmax", "Mean", "AveragePool2D"}


class Clipped(nn.Module):
    """Every way to clip: fused into a layer, alone, as a module and as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)
        self.six, self.one = nn.Hardtanh(0, 6), nn.Hardtanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.one(self.one(nn.functional.hardtanh(self.conv(x), 0.0, max_val=6.0)))
        pooled = self.six(y + nn.functional.hardtanh(y, -1, 1)).mean((2, 3))
        result: torch.Tensor = nn.functional.hardtanh(self.fc(pooled))
        return result


def test_hardtanh_is_relu6_or_a_clamp_to_one() -> None:
    network = network_of(Clipped()).eval()
    model = verify(to_model(network, "net", (40, 100)))
    activations = [op.activation for op in model.graph.ops if hasattr(op, "activation")]
    assert activations.count(Activation.RELU_N1_TO_1) == 4
    assert activations.count(Activation.RELU6) == 2
    x = 3 * torch.randn(4, 8, 8, 3)
    for region in model.regions:
        set_dp(network, region.dp)
        found = interpret_float(model, region, x.numpy())
        np.testing.assert_allclose(found, network(x).detach().numpy(), atol=1e-5)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardtanh(-2, 2), nn.Flatten(), nn.Linear(144, 2))
    with pytest.raises(UnsupportedOp, match=r"Hardtanh\(-2, 2\).* which cannot be exported"):
        to_model(network_of(plain), "net", (100,))


def test_sequences_are_images_of_one_row() -> None:
    whole = make_scalable(Sequence().eval(), torch.zeros(1, 16, 3), rows=(50, 100))
    network = Network(whole, (16, 3), 4).eval()
    model = same_at_every_percentage(network, torch.randn(4, 16, 3), (20, 50, 100))
    assert model.graph.tensors[0].type.shape == (1, 16, 3)


class FlatJoin(nn.Module):
    """Joins a flattened image with another vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.side = nn.Conv2d(3, 4, 8, padding=1), nn.Linear(192, 36)
        self.fc = nn.Linear(72, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = self.conv(x).flatten(1)
        result: torch.Tensor = self.fc(torch.cat([image, self.side(x.flatten(1))], 1))
        return result


PLACES: list[tuple[nn.Module, str]] = [
    (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 2)),
     "batch norm of vectors must directly follow"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(3, ceil_mode=True), nn.Flatten(),
                   nn.Linear(36, 2)), "ceil_mode cannot be represented"),
    (nn.Sequential(nn.Flatten(), nn.Linear(192, 2), nn.LogSoftmax(1)), "LogSoftmax.*no operation"),
    (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.Tanh(), nn.Linear(6, 2)), "Tanh.*supported"),
    (FlatJoin(), "flatten after concatenating"),
]  # fmt: skip


@pytest.mark.parametrize(("plain", "reason"), PLACES)
def test_places_and_options_that_cannot_be_represented(plain: nn.Module, reason: str) -> None:
    with pytest.raises(UnsupportedOp, match=reason):
        to_model(network_of(plain), "net", (50,))


def test_images_must_pass_channels_first() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(256, 2))
    network = Network(make_scalable(plain, images()), (3, 8, 8), 2)
    with pytest.raises(UnsupportedOp, match="must pass ChannelsFirst first"):
        to_model(network, "net", (50,))


def damaged(weight: float, variance: float) -> Network:
    """A small network with batch norm whose numbers no training made."""
    network = build(load_recipe("cifar10-resnet8", ["network.width=0.1"]).network,
                    (8, 8, 3), 4, "linear", 0)  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(weight)
        for layer in norms(network):
            layer.variances.fill_(variance)
    return network


def test_weights_that_leave_float32_once_folded() -> None:
    """Found by damaging checkpoints: finite numbers whose product is not."""
    with pytest.raises(ConfigError, match="exceed float32"):
        to_model(damaged(3e38, 0.01), "net", (50, 100))


def test_negative_variances() -> None:
    """Found by damaging checkpoints."""
    with pytest.raises(ConfigError, match="variance that is not positive"):
        to_model(damaged(0.1, -0.01), "net", (50, 100))
