"""Layers and networks: the paper's Eq. 1 and Eq. 2, and what must not be touched."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import active_channels
from tesla_embed.nn.layers import IncompleteConv2d, IncompleteLayer, IncompleteLinear, set_dp
from tesla_embed.nn.networks import CnnConfig, MlpConfig, Network, assemble, build
from tesla_embed.nn.profiles import PROFILES, make_profile

CNN = CnnConfig(
    channels=(6, 5),
    pool_sizes=(2, 1),
    channels_scalable=(True, True),
    hidden=(7,),
    hidden_scalable=(True,),
)
MLP = MlpConfig(hidden=(10, 8), scalable=(True, False))


def fill(layer: IncompleteLayer, seed: int = 0) -> None:
    layer.reset(torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 12),
    m=st.integers(1, 6),
    dp=st.integers(1, 100),
    name=st.sampled_from(sorted(PROFILES)),
)
def test_equation_1(n: int, m: int, dp: int, name: str) -> None:
    gamma = make_profile(name, n)
    layer = IncompleteLinear(n, m, profile=gamma)
    fill(layer)
    k = active_channels(n, dp)
    x = torch.randn(2, k, generator=torch.Generator().manual_seed(1))
    y = layer(x)
    for b in range(2):
        for j in range(m):
            total = layer.bias[j].item()
            for i in range(k):
                total += gamma[i].item() * layer.weight[j, i].item() * x[b, i].item()
            assert y[b, j].item() == pytest.approx(total, abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 4), m=st.integers(1, 6), dp=st.integers(1, 100))
def test_equation_2(n: int, m: int, dp: int) -> None:
    gamma = make_profile("linear", m)
    layer = IncompleteConv2d(n + 2, m, 3, padding=1, profile=gamma, scalable=True)
    fill(layer)
    set_dp(layer, dp)
    x = torch.randn(1, n, 4, 3, generator=torch.Generator().manual_seed(1))
    y = layer(x)
    assert y.shape == (1, active_channels(m, dp), 4, 3)
    padded = F.pad(x, (1, 1, 1, 1))[0].numpy()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    for j in range(y.shape[1]):
        for row in range(4):
            for column in range(3):
                patch = padded[:, row : row + 3, column : column + 3]
                want = gamma[j].item() * (bias[j] + float((weight[j, :n] * patch).sum()))
                assert y[0, j, row, column].item() == pytest.approx(want, abs=1e-5)


def test_profiles_are_what_they_are_called() -> None:
    assert make_profile("all-one", 3).tolist() == [1, 1, 1]
    assert make_profile("linear", 4).tolist() == [1, 0.75, 0.5, 0.25]
    assert make_profile("harmonic", 4).tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    with pytest.raises(ConfigError, match="all-one, linear, harmonic"):
        make_profile("cubic", 3)


@pytest.mark.parametrize("multiple", [1, 4])
def test_active_width_is_rounded_up_to_the_multiple(multiple: int) -> None:
    layer = IncompleteLinear(3, 10, scalable=True, multiple=multiple)
    set_dp(layer, 15)
    assert layer(torch.zeros(1, 3)).shape[1] == (2 if multiple == 1 else 4)


def test_complete_mlp_with_ones_is_the_plain_network() -> None:
    network = build(MLP, (4, 3, 1), 3, "all-one", 0)
    x = torch.randn(5, 4, 3, 1)
    h = x.reshape(5, 12)
    layers = [m for m in network.modules() if isinstance(m, IncompleteLinear)]
    for layer in layers[:-1]:
        h = F.relu(F.linear(h, layer.weight, layer.bias))
    assert torch.equal(network(x), F.linear(h, layers[-1].weight, layers[-1].bias))


@pytest.mark.parametrize("pool", ["max", "average"])
def test_complete_cnn_is_the_plain_network(pool: str) -> None:
    config = CnnConfig(
        channels=(6,),
        pool_sizes=(2,),
        channels_scalable=(True,),
        pool=pool,  # type: ignore[arg-type]
    )
    network = build(config, (8, 6, 2), 3, "linear", 0)
    conv, fc = (m for m in network.modules() if isinstance(m, IncompleteLayer))
    x = torch.randn(5, 8, 6, 2)
    image = F.conv2d(x.permute(0, 3, 1, 2), conv.weight, conv.bias, padding=1)
    image = F.relu(image * make_profile("linear", 6)[:, None, None])
    image = F.max_pool2d(image, 2) if pool == "max" else F.avg_pool2d(image, 2)
    assert torch.allclose(network(x), F.linear(image.flatten(1), fc.weight, fc.bias), atol=1e-6)


def widths(network: Network, dp: int) -> dict[str, tuple[int, int]]:
    """Active (outputs, inputs) of every layer; inputs of fc1 count whole channels."""
    result, inputs = {}, network.input_shape[-1]
    for name, layer in network.body.named_children():
        if isinstance(layer, IncompleteLayer):
            outputs = layer.target.width(dp)
            result[name] = (outputs, inputs)
            inputs = outputs
    return result


@pytest.mark.parametrize("dp", [1, 10, 37, 70])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_nothing_outside_the_prefix_is_used(kind: str, dp: int) -> None:
    shape = (12,) if kind == "mlp" else (8, 8, 2)
    network = build(MLP if kind == "mlp" else CNN, shape, 3, "linear", 0)
    x = torch.randn(4, *shape)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(1.0)  # no ReLU is dead
    set_dp(network, dp)
    network(x).square().sum().backward()
    before = network(x)
    for name, (outputs, inputs) in widths(network, dp).items():
        layer = network.body.get_submodule(name)
        assert isinstance(layer, IncompleteLayer)
        positions = 16 if kind == "cnn" and name == "fc1" else 1
        outside = torch.ones_like(layer.weight, dtype=torch.bool)
        outside[:outputs, : inputs * positions] = False
        assert layer.weight.grad is not None and layer.bias.grad is not None
        assert (layer.weight.grad[outside] == 0).all()
        assert (layer.bias.grad[outputs:] == 0).all()
        assert layer.weight.grad[~outside].abs().sum() > 0
        with torch.no_grad():
            layer.weight[outside] = torch.nan
            layer.bias[outputs:] = torch.nan
    assert torch.equal(network(x), before)


def test_the_papers_mlp_scales_only_its_first_hidden_activation() -> None:
    network = build(MLP, (12,), 3, "harmonic", 0)
    assert widths(network, 30) == {"fc1": (3, 12), "fc2": (8, 3), "fc3": (3, 8)}
    profiles = {n for n, b in network.named_buffers() if b is not None}
    assert profiles == {"body.fc2.profile"}


def test_every_scalable_tensor_of_a_cnn_has_its_profile_once() -> None:
    network = build(CNN, (8, 8, 1), 3, "linear", 0)
    sizes = {name: len(buffer) for name, buffer in network.named_buffers()}
    assert sizes == {"body.conv1.profile": 6, "body.conv2.profile": 5, "body.fc2.profile": 7}


def test_initial_weights_follow_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build(CNN, (8, 8, 1), 3, "linear", 5).state_dict()
    torch.manual_seed(2)
    again = build(CNN, (8, 8, 1), 3, "linear", 5).state_dict()
    other = build(CNN, (8, 8, 1), 3, "linear", 6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["body.conv1.weight"], other["body.conv1.weight"])


@pytest.mark.parametrize("dp", [0, -1, 101])
def test_percentages_out_of_range(dp: int) -> None:
    with pytest.raises(ConfigError, match="1 to 100"):
        set_dp(IncompleteLinear(2, 2), dp)


def test_networks_that_do_not_fit_the_data() -> None:
    with pytest.raises(ConfigError, match="needs images"):
        assemble(CNN, (12,), 3, "linear")
    with pytest.raises(ConfigError, match="nothing is left"):
        assemble(CNN, (1, 1, 1), 3, "linear")


def test_profile_can_become_a_parameter() -> None:
    layer = IncompleteLinear(4, 2, profile=make_profile("linear", 4))
    fill(layer)
    gamma = layer.profile
    del layer.profile
    layer.profile = torch.nn.Parameter(gamma)
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.profile.grad is not None
    assert np.count_nonzero(layer.profile.grad.numpy()) == 3
