"""Batch norm at several widths: statistics per region, in checkpoints, and folded on export."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tesla_embed.errors import ConfigError, GraphError, QuantizationError
from tesla_embed.ir.graph import Model, Table
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.store import digest, load_model, save_model
from tesla_embed.ir.verify import verify
from tesla_embed.nn.channels import Span
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network, build
from tesla_embed.nn.norm import BatchNormOptions, IncompleteBatchNorm, norms, recalibrate
from tesla_embed.nn.scalable import make_scalable
from tesla_embed.nn.zoo.vgg16 import Vgg16Config
from tesla_embed.quant import calibrate, quantize
from tesla_embed.quant.equalize import equalize

ROWS = (25, 50, 100)


def network(profile: str = "linear", rows: tuple[int, ...] = ROWS) -> Network:
    """A small VGG-16 whose batch norm was calibrated on random images."""
    made = build(Vgg16Config(width=0.05), (8, 8, 2), 4, profile, 3, BatchNormOptions(rows=rows))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for layer in norms(made):
            assert layer.weight is not None and layer.bias is not None
            layer.weight.uniform_(0.5, 1.5, generator=generator)
            layer.bias.normal_(generator=generator)
    recalibrate(made, batches, rows)
    return made


def batches() -> list[torch.Tensor]:
    return [torch.rand(16, 8, 8, 2, generator=torch.Generator().manual_seed(i)) for i in range(3)]


def test_recalibration_is_the_mean_over_batches() -> None:
    plain = nn.Sequential(nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(384, 2))
    x = [batch.permute(0, 3, 1, 2) for batch in batches()]
    module = make_scalable(plain, x[0], profile="all-one", rows=ROWS)
    recalibrate(module, lambda: x, (50,))
    (layer,) = norms(module)
    features = [plain[0](batch).detach() for batch in x]
    means = torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0)
    variances = torch.stack([f.transpose(0, 1).reshape(6, -1).var(1) for f in features]).mean(0)
    torch.testing.assert_close(layer.means[1, :3], means[:3])
    torch.testing.assert_close(layer.variances[1, :3], variances[:3])
    assert layer.batches.tolist() == [0, 3, 0] and not layer.calibrating and not module.training
    with pytest.raises(ConfigError, match="no statistics for 60 % DP; it does for 25, 50, 100"):
        recalibrate(module, lambda: x, (60,))


def test_the_next_higher_row_that_is_filled_serves() -> None:
    layer = IncompleteBatchNorm(nn.BatchNorm1d(4), Span.of(4), ROWS, True)
    assert [layer.row(dp) for dp in (10, 60, 100)] == [2, 2, 2], "none is filled: the last"
    layer.batches[1] = 1
    assert [layer.row(dp) for dp in (10, 25, 50, 51)] == [1, 1, 1, 2]


def test_training_updates_the_row_of_its_percentage_alone() -> None:
    plain = nn.Sequential(nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(384, 2))
    x = batches()[0].permute(0, 3, 1, 2)
    module = make_scalable(plain, x, profile="all-one", rows=ROWS)
    (layer,) = norms(module)
    set_dp(module, 50)
    module.train()(x)
    assert layer.batches.tolist() == [0, 1, 0]
    assert (layer.means[1, :3] != 0).all() and (layer.means[1, 3:] == 0).all()
    assert (layer.means[[0, 2]] == 0).all()
    set_dp(module, 60)
    module(x)
    assert layer.batches.tolist() == [0, 1, 0], "no row, nothing to update"
    set_dp(module, 100)
    plain.train()
    assert torch.equal(module(x), plain(x))
    assert torch.equal(layer.means[2], plain[1].running_mean)  # type: ignore[arg-type]
    assert torch.equal(layer.variances[2], plain[1].running_var)  # type: ignore[arg-type]
    fixed = make_scalable(plain, x, rows=ROWS, track=False)
    before = norms(fixed)[0].means.clone()
    fixed.train()(x)
    assert torch.equal(norms(fixed)[0].means, before)


def test_statistics_survive_a_round_trip(tmp_path: Path) -> None:
    from tesla_embed.train.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
    from tesla_embed.train.recipe import load_recipe

    recipe = load_recipe(
        "cifar10-vgg16", ["width=0.05", "batch_norm.rows=[25, 50, 100]", "profile=linear"]
    )
    info = CheckpointInfo(recipe=recipe, input_shape=(8, 8, 2), classes=4, data="test")
    save_checkpoint(tmp_path / "model", network(), info)
    loaded = load_checkpoint(tmp_path / "model").network.eval()
    x = batches()[0]
    want = network().eval()
    for dp in (10, 25, 50, 75, 100):
        set_dp(loaded, dp)
        set_dp(want, dp)
        assert torch.equal(loaded(x), want(x))


@pytest.mark.parametrize("profile", ["all-one", "linear"])
def test_export_equals_torch_at_every_percentage(profile: str) -> None:
    made = network(profile)
    dps = (10, 25, 40, 50, 80, 100)
    model = verify(to_model(made, "net", dps))
    x = batches()[0]
    for region in model.regions:
        set_dp(made, region.dp)
        want = made.eval()(x).detach().numpy()
        found = interpret_float(model, region, x.numpy())
        np.testing.assert_allclose(found, want, atol=3e-5 * max(1.0, float(np.abs(want).max())))
    gains = [table.gain is not None for table in model.region(25).tables if table]
    assert gains[:-1] == [True] * 13 and not gains[-1], "the classifier has no batch norm"
    assert all(table.gain is None for table in model.region(100).tables if table)
    assert [op.name for op in model.graph.ops][:4] == ["conv1_1", "conv1_2", "pool1", "conv2_1"]


def test_gain_through_the_store_and_into_integers(tmp_path: Path) -> None:
    model = to_model(network(), "net", (50, 100))
    save_model(tmp_path / "model", model)
    again = load_model(tmp_path / "model")
    assert digest(again) == digest(model)
    x = np.concatenate([batch.numpy() for batch in batches()])
    balanced = equalize(again, x)
    whole = quantize(balanced, calibrate(balanced, x, (0.0, 1.0)))
    for region, floats in zip(whole.regions, model.regions, strict=True):
        for op, table, before in zip(
            whole.graph.ops, region.tables, balanced.region(region.dp).tables, strict=True
        ):
            if not isinstance(op, Weighted):
                continue
            assert table and before and op.weights.scale is not None and table.gain is None
            gain = 1.0 if before.gain is None else before.gain
            want = (op.weights.scale[: len(table.bias)] * gain).astype(np.float32)
            assert np.array_equal(table.weight_scale, want)
        exact = interpret_float(model, floats, x)
        q = quantization(region.types[whole.graph.output])
        integers = interpret(whole, region, quantize_input(region.types[0], x))
        found = (integers.astype(np.float64) - q.zero_point) * q.scale
        assert np.abs(found - exact).mean() < 0.1 * np.abs(exact).mean()


def with_gain(model: Model, gain: object) -> Model:
    region = model.regions[0]
    tables = list(region.tables)
    assert tables[0] is not None
    tables[0] = dataclasses.replace(tables[0], gain=np.array(gain))
    regions = (dataclasses.replace(region, tables=tuple(tables)), *model.regions[1:])
    return dataclasses.replace(model, regions=regions)


def test_gains_that_cannot_be() -> None:
    model = to_model(network(), "net", (100,))
    for bad in ([0.0, 1.0, 1.0], [1.0], [np.nan] * 3, [-1.0] * 3):
        with pytest.raises(GraphError, match="gain"):
            verify(with_gain(model, bad))
    x = batches()[0].numpy()
    ranges = calibrate(model, x)
    with pytest.raises(QuantizationError, match="gain is out of range"):
        quantize(with_gain(model, [1e-300] * 3), ranges)
    integers = quantize(model, ranges)
    with pytest.raises(GraphError, match="no gain"):
        verify(with_gain(integers, [1.0] * 3))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=2))
def test_gain_multiplies_before_the_bias(gain: list[float]) -> None:
    model = to_model(build(Vgg16Config(width=0.01), (2, 2, 1), 2, "all-one", 0), "net", (100,))
    region = model.regions[0]
    x = np.random.default_rng(0).random((3, 2, 2, 1), np.float32)
    last = region.tables[-1]
    assert last is not None
    plain = interpret_float(model, region, x)
    tables = (*region.tables[:-1], Table(bias=last.bias.copy(), gain=np.array(gain)))
    other = dataclasses.replace(region, tables=tables)
    found = interpret_float(model, other, x)
    np.testing.assert_allclose(found, (plain - last.bias) * gain + last.bias, rtol=1e-4, atol=1e-6)
