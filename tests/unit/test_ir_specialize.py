"""A region cut out of a model is dense, at the active width, and is the prefix of the whole."""

import numpy as np
import pytest
from graphs import first_difference, int8_inputs, quantized_model

from tesla_embed.ir.graph import Model, active_channels, full_macs, region_macs
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Conv2D, DepthwiseConv2D, Weighted
from tesla_embed.ir.parts import channel_parts
from tesla_embed.ir.specialize import active_weights, specialize
from tesla_embed.ir.verify import verify

SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
def test_dense_model_is_valid_and_computes_the_same(seed: int) -> None:
    model = quantized_model(seed)
    inputs = int8_inputs(model, seed, 5)
    for region in model.regions:
        dense = verify(specialize(model, region))
        assert dense.regions == (region,)
        assert tuple(t.type for t in dense.graph.tensors) == region.types
        again = specialize(dense, dense.regions[0])
        expected = interpret(model, region, inputs)
        assert not first_difference("dense", interpret(dense, region, inputs), expected)
        for op, twice in zip(dense.graph.ops, again.graph.ops, strict=True):
            if isinstance(op, Weighted):
                assert isinstance(twice, Weighted)
                assert np.array_equal(op.weights.data, twice.weights.data)


@pytest.mark.parametrize("seed", SEEDS)
def test_active_weights_are_prefixes_of_every_axis_that_scales(seed: int) -> None:
    model = quantized_model(seed)
    for region in model.regions:
        parts = channel_parts(model.graph, region)
        for op in model.graph.ops:
            full, source, target = (
                model.graph.tensors[op.input].type,
                region.types[op.input],
                region.types[op.output],
            )
            if not isinstance(op, Weighted) or len(parts[op.input]) > 1:
                continue
            if isinstance(op, DepthwiseConv2D):
                expected = op.weights.data[: target.channels]
            elif isinstance(op, Conv2D):
                expected = op.weights.data[: target.channels, :, :, : source.channels]
            else:
                columns = [i for i in range(full.size) if i % full.channels < source.channels]
                expected = op.weights.data[: target.channels][:, columns]
            found = active_weights(op, parts[op.input], parts[op.output])
            assert found.flags["C_CONTIGUOUS"]
            assert np.array_equal(found, expected)


def test_full_width_changes_nothing() -> None:
    model = next(m for m in map(quantized_model, SEEDS) if m.regions[-1].dp == 100)
    dense = specialize(model, model.regions[-1])
    for op, original in zip(dense.graph.ops, model.graph.ops, strict=True):
        if isinstance(op, Weighted):
            assert isinstance(original, Weighted)
            assert np.array_equal(op.weights.data, original.weights.data)


def naive_macs(model: Model, index: int) -> int:
    dense = specialize(model, model.regions[index])
    total = 0
    for op in dense.graph.ops:
        if isinstance(op, Weighted):
            positions = dense.graph.tensors[op.output].type.positions
            total += positions * op.weights.data.size
    return total


@pytest.mark.parametrize("seed", SEEDS)
def test_macs_count_the_weights_of_the_dense_model(seed: int) -> None:
    model = quantized_model(seed)
    for index, region in enumerate(model.regions):
        assert sum(region_macs(model.graph, region)) == naive_macs(model, index)
        if region.dp == 100:
            assert full_macs(model.graph) == naive_macs(model, index)


def test_active_channels_round_up() -> None:
    assert [active_channels(10, dp) for dp in (1, 10, 11, 99, 100)] == [1, 1, 2, 10, 10]
    assert [active_channels(10, dp, 4) for dp in (1, 40, 41, 90)] == [4, 4, 8, 10]
    assert all(active_channels(c, 1) == 1 for c in range(1, 101))
