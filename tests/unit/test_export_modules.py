"""Export of modules that were not written for it, and refusals that name what is missing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import images, plain_module
from torch import nn

from tesla_embed.errors import UnsupportedOp
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.ir.ops import AveragePool2D, Conv2D
from tesla_embed.ir.verify import verify
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import ChannelsFirst, set_dp
from tesla_embed.nn.networks import Network, build
from tesla_embed.nn.norm import recalibrate
from tesla_embed.nn.scalable import make_scalable
from tesla_embed.train.recipe import load_recipe


def network_of(plain: nn.Module, profile: str = "linear") -> Network:
    """A plain module for `[B, 3, 8, 8]` as a network of images `(8, 8, 3)`."""
    whole = nn.Sequential(ChannelsFirst(), plain)
    example = images().permute(0, 2, 3, 1)
    return Network(make_scalable(whole, example, profile=profile, rows=(50, 100)), (8, 8, 3), 4)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from(["all-one", "linear"]))
def test_chains_compute_what_torch_computes_at_every_percentage(seed: int, profile: str) -> None:
    network = network_of(plain_module("chain", seed), profile).eval()
    x = images(8).permute(0, 2, 3, 1).contiguous()
    recalibrate(network, lambda: [x], (50, 100))
    model = same_at_every_percentage(network, x, (10, 30, 50, 77, 100))
    assert isinstance(model.graph.ops[-4], AveragePool2D)


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
    """The verified float model, whose interpreter computes what PyTorch does at all of `dps`."""
    model = verify(to_model(network, "net", dps))
    for region in model.regions:
        set_dp(network, region.dp)
        want = network(x).detach().numpy()
        found = interpret_float(model, region, x.numpy()).reshape(want.shape)
        np.testing.assert_allclose(found, want, atol=2e-5 * max(1.0, float(np.abs(want).max())))
    return model


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
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    recalibrate(network, lambda: [x], (50, 100))
    same_at_every_percentage(network, x, (10, 50, 77, 100))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from(["all-one", "linear"]))
def test_separable_modules(seed: int, profile: str) -> None:
    network = network_of(plain_module("depthwise", seed), profile).eval()
    x = images(8).permute(0, 2, 3, 1).contiguous()
    recalibrate(network, lambda: [x], (50, 100))
    same_at_every_percentage(network, x, (10, 30, 50, 77, 100))


PLACES: list[tuple[nn.Module, str]] = [
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)),
     "only ReLU and ReLU6, directly after a layer"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Flatten(),
                   nn.Linear(64, 2)), "batch norm must directly follow"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(3, ceil_mode=True), nn.Flatten(),
                   nn.Linear(36, 2)), "ceil_mode cannot be represented"),
    (plain_module("concat", 0), "layer cat is a cat"),
    (nn.Sequential(nn.Conv2d(3, 4, 1, padding=1), nn.Flatten(), nn.Linear(400, 2)),
     "padding must be smaller than the kernel"),
    (nn.Sequential(nn.Flatten(), nn.Linear(192, 2), nn.Softmax(1)), "leave it out"),
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
