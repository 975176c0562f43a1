"""The exported float model computes what the network computes, in every region."""

import numpy as np
import pytest
import torch

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.ir.graph import Model, Region, region_macs
from tesla_embed.ir.ops import (
    Activation,
    AveragePool2D,
    Conv2D,
    FullyConnected,
    MaxPool2D,
    Reshape,
)
from tesla_embed.ir.types import DType
from tesla_embed.ir.verify import verify
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import CnnConfig, MlpConfig, NetworkConfig, build

DPS = (10, 20, 35, 50, 75, 90, 100)


def image_patches(x: np.ndarray, op: Conv2D | MaxPool2D | AveragePool2D) -> np.ndarray:
    """`[N, H', W', height, width, C]` windows of `[N, H, W, C]`."""
    w = op.window
    x = np.pad(x, ((0, 0), (w.pad_top, w.pad_bottom), (w.pad_left, w.pad_right), (0, 0)))
    rows = np.lib.stride_tricks.sliding_window_view(x, (w.height, w.width), axis=(1, 2))
    return rows[:, :: w.stride_height, :: w.stride_width].transpose(0, 1, 2, 4, 5, 3)


def run(model: Model, region: Region, x: np.ndarray) -> np.ndarray:
    """An independent float64 interpretation of one region of a float model."""
    for op, table in zip(model.graph.ops, region.tables, strict=True):
        full, target = model.graph.tensors[op.input].type, region.types[op.output]
        if isinstance(op, FullyConnected | Conv2D):
            assert table is not None and table.weight_scale is None
            assert table.bias.dtype == np.float32 and table.bias.shape == (target.channels,)
            weight = op.weights.data.astype(np.float64)[: target.channels]
            active = region.types[op.input].channels
            if isinstance(op, FullyConnected):
                weight = weight.reshape(len(weight), full.positions, full.channels)[..., :active]
                y = x @ weight.reshape(len(weight), -1).T + table.bias
            else:
                y = np.einsum("nhwabc,oabc->nhwo", image_patches(x, op), weight[..., :active])
                y = y + table.bias
            x = np.maximum(y, 0) if op.activation is Activation.RELU else y
        elif isinstance(op, MaxPool2D):
            x = image_patches(x, op).max(axis=(3, 4))
        elif isinstance(op, AveragePool2D):
            x = image_patches(x, op).mean(axis=(3, 4))
        else:
            assert isinstance(op, Reshape)
            x = x.reshape(len(x), -1)
        assert x.shape[1:] == target.shape
    return x


CONFIGS: list[tuple[NetworkConfig, tuple[int, ...]]] = [
    (MlpConfig(hidden=(10, 8), scalable=(True, False)), (4, 3, 2)),
    (MlpConfig(hidden=(9, 8), scalable=(True, True), multiple=4), (7,)),
    (MlpConfig(hidden=(), scalable=()), (7,)),
    (CnnConfig(channels=(6, 5), pool_sizes=(2, 1), channels_scalable=(True, True)), (9, 7, 3)),
    (
        CnnConfig(
            channels=(6, 5),
            pool_sizes=(1, 3),
            channels_scalable=(False, True),
            hidden=(7, 6),
            hidden_scalable=(True, True),
            pool="average",
            kernel=5,
            stride=2,
            padding=2,
            multiple=2,
        ),
        (13, 12, 1),
    ),
]


@pytest.mark.parametrize("profile", ["all-one", "linear", "harmonic"])
@pytest.mark.parametrize(("config", "shape"), CONFIGS)
def test_model_equals_network(config: NetworkConfig, shape: tuple[int, ...], profile: str) -> None:
    network = build(config, shape, 4, profile, 1)
    model = verify(to_model(network, "net", DPS))
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))
    source = model.graph.tensors[model.graph.input].type
    assert source.shape == ((int(np.prod(shape)),) if isinstance(config, MlpConfig) else shape)
    assert source.channels == source.shape[-1]
    inputs = x.numpy().astype(np.float64).reshape(len(x), *source.shape)
    for region in model.regions:
        set_dp(network, region.dp)
        want = network(x).detach().numpy()
        np.testing.assert_allclose(run(model, region, inputs), want, atol=2e-5, rtol=1e-5)
        assert region.types[model.graph.input] == source, "inputs never scale"
        assert all(t.dtype is DType.FLOAT32 and t.quantization is None for t in region.types)


def test_names_shapes_and_channels() -> None:
    model = to_model(build(CONFIGS[3][0], (9, 7, 3), 4, "linear", 1), "net", (50, 50, 10))
    assert [op.name for op in model.graph.ops] == ["conv1", "pool1", "conv2", "flatten", "fc1"]
    assert [t.type.shape for t in model.graph.tensors] == [
        (9, 7, 3), (9, 7, 6), (4, 3, 6), (4, 3, 5), (60,), (4,),
    ]  # fmt: skip
    assert [region.dp for region in model.regions] == [10, 50]
    assert [t.shape for t in model.region(50).types] == [
        (9, 7, 3), (9, 7, 3), (4, 3, 3), (4, 3, 3), (36,), (4,),
    ]  # fmt: skip
    assert model.region(50).types[4].channels == 3
    weights = [op.weights.data for op in model.graph.ops if isinstance(op, Conv2D)]
    assert [w.shape for w in weights] == [(6, 3, 3, 3), (5, 3, 3, 6)]
    assert {w.dtype for w in weights} == {np.dtype(np.float32)}


def test_macs_of_the_papers_mlp() -> None:
    network = build(
        MlpConfig(hidden=(100, 100), scalable=(True, False)), (28, 28, 1), 10, "linear", 0
    )
    model = to_model(network, "mnist", (10, 100))
    assert region_macs(model.graph, model.region(10)) == (784 * 10, 10 * 100, 1000)
    assert region_macs(model.graph, model.region(100)) == (78400, 10000, 1000)


def test_bad_names_percentages_and_layers() -> None:
    network = build(CONFIGS[0][0], (4, 3, 2), 4, "linear", 1)
    for name in ("", "9x", "a-b", "a b", "é"):
        with pytest.raises(ConfigError, match="identifier"):
            to_model(network, name, (10,))
    for dps in ((), (0,), (10, 101)):
        with pytest.raises(ConfigError, match="1 to 100"):
            to_model(network, "net", dps)
    network.body.add_module("extra", torch.nn.Tanh())
    with pytest.raises(UnsupportedOp, match="extra is a Tanh"):
        to_model(network, "net", (10,))
