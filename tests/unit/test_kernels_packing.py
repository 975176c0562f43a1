"""Packed weights and requantisation in few instructions: layouts, prefixes, and where they end."""

import dataclasses

import numpy as np
import pytest
from graphs import quantized_model

from tesla_codegen.kernels.channels import channel_table, layer_requantization
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.dsp_conv import channels_first
from tesla_codegen.kernels.pairing import halves_fit, paired, paired_exactly
from tesla_codegen.kernels.variant import Isa, Optimize, Variant
from tesla_embed.ir.fixedpoint import Int64, requantize, requantize_once
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import FullyConnected, Weighted
from tesla_embed.ir.specialize import specialize
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify


def unpacked(words: np.ndarray, inputs: int) -> np.ndarray:
    """`[out, in]` from packed bytes, as a kernel takes halves apart."""
    halves = words.view("<i2").astype(np.int64).reshape(-1, inputs // 4, 2, 2, 2)
    even = halves.astype(np.int8).astype(np.int64)  # the lower byte, signed
    odd = (halves - even) >> 8
    channels = np.stack([even, odd], axis=-1)  # [block, quad, word, pair, half, channel]
    ordered = channels.transpose(0, 3, 5, 1, 4, 2)  # inputs of a quad: half, then word
    return ordered.reshape(-1, inputs)


def test_packing_can_be_undone() -> None:
    rows = np.random.default_rng(1).integers(-127, 128, (12, 20)).astype(np.int8)
    np.testing.assert_array_equal(unpacked(paired(rows), 20), rows)


def test_extremes_fit_a_halfword() -> None:
    corners = np.array([[-127, 127, -127, 127], [-127, -127, 127, 127]] * 2, np.int8)
    np.testing.assert_array_equal(unpacked(paired(corners), 4), corners)


def test_odd_channels_of_minus_128_do_not() -> None:
    """Files that others made may have them; with a negative even channel the halfword wraps."""
    rows = np.array([[-128, -1], [-127, 0], [5, -128], [0, 127]], np.int8)
    assert halves_fit(rows)
    np.testing.assert_array_equal(unpacked(paired(np.pad(rows, [(0, 0), (0, 2)])), 4)[:, :2], rows)
    assert not halves_fit(rows[::-1])


def test_multiples_of_four_take_exactly_their_bytes_and_others_are_filled_up() -> None:
    assert len(paired(np.zeros((8, 12), np.int8))) == 96
    assert len(paired(np.zeros((5, 3), np.int8))) == 32


def test_leading_channels_are_leading_bytes() -> None:
    rng = np.random.default_rng(2)
    weights = rng.integers(-127, 128, (8, 3, 3, 12)).astype(np.int8)
    whole = paired(channels_first(weights)).reshape(2, -1)
    narrow = paired(channels_first(weights[:4, ..., :8])).reshape(1, -1)
    np.testing.assert_array_equal(whole[:1, : narrow.shape[1]], narrow)


def test_only_odd_channels_limit_the_sum() -> None:
    limit = np.array([0, 2**23 - 1], np.int64)
    assert paired_exactly(-limit, limit)
    assert not paired_exactly(-limit, limit + 1)
    even = np.array([2**28, 0], np.int64)
    assert paired_exactly(-even, even)


def finished(table: np.ndarray, accumulator: Int64, *, once: bool) -> Int64:
    """What SMMLAR or SMMUL, ADD, ASR and SSAT make of accumulators `[N, out]`."""
    _, multiplier, rounding, shift = table.astype(np.int64).T
    if once:
        high = (accumulator * multiplier) >> 32
    else:
        high = accumulator + ((accumulator * multiplier + 2**31) >> 32)
        high += high >> 31
    saturated: Int64 = np.clip((high + rounding) >> shift, -128, 127)
    return saturated


@pytest.mark.parametrize("seeds", [range(40), range(40, 80)])
def test_few_instructions_round_as_the_interpreter(seeds: range) -> None:
    """Random accumulators and those around ties, of every channel and region of random models."""
    rng = np.random.default_rng(3)
    tables = 0
    for seed in seeds:
        model = quantized_model(seed)
        for region in model.regions:
            dense = specialize(model, region)
            for index, op in enumerate(dense.graph.ops):
                table = channel_table(dense, index) if isinstance(op, Weighted) else None
                if table is None:
                    continue
                tables += 1
                q = layer_requantization(dense, index)
                once = isinstance(op, FullyConnected)
                factor = q.factors.multiplier / 2.0**31 * 2.0**q.factors.shift
                ties = np.rint((rng.integers(-140, 140, (3000, 1)) + 0.5) / factor)
                ties += rng.integers(-2, 3, ties.shape)
                wide = rng.integers(-(2**29) + 1, 2**29, (3000, len(factor)))
                near = np.clip(ties, -(2**29) + 1, 2**29 - 1).astype(np.int64)
                accumulator = np.concatenate([wide, near])
                rounded = (requantize_once if once else requantize)(accumulator, q.factors)
                wanted = np.clip(rounded + q.output_offset, -128, 127)
                np.testing.assert_array_equal(finished(table, accumulator, once=once), wanted)
    assert tables > 50


def dense_model(weights: np.ndarray, output_scale: float = 512.0) -> Model:
    """One fully connected layer whose weights count in units of 1."""
    out, inputs = weights.shape
    tensors = tuple(
        Tensor(name=name, type=TensorType(shape=(size,), channels=size))
        for name, size in (("input", inputs), ("output", out))
    )
    scale = np.ones(out)
    op = FullyConnected(
        name="fc", inputs=(0,), output=1, weights=Weights(data=weights, scale=scale)
    )
    entry = Quantization(scale=1.0, zero_point=-128)
    exit_ = Quantization(scale=output_scale, zero_point=0)
    types = tuple(
        dataclasses.replace(tensor.type, quantization=q)
        for tensor, q in zip(tensors, (entry, exit_), strict=True)
    )
    table = Table(bias=np.zeros(out, np.int32), weight_scale=scale.copy())
    region = Region(dp=100, types=types, tables=(table,))
    graph = Graph(tensors=tensors, ops=(op,), input=0, output=1)
    return verify(Model(name="net", graph=graph, regions=(region,)))


def only_variant(model: Model) -> Variant:
    (variant,) = choose(model, Isa.DSP, Optimize.BALANCED)
    assert variant is not None
    return variant


def test_an_odd_channel_with_too_large_a_sum_is_left_to_the_portable_kernel() -> None:
    """260 weights of 127 times 255 exceed 2^23; as an even channel they may."""
    weights = np.zeros((2, 260), np.int8)
    weights[1] = 127
    large = only_variant(dense_model(weights, 2.0**17))
    assert large.kernel == "tesla_fully_connected_s8"
    assert only_variant(dense_model(weights[::-1].copy(), 2.0**17)).kernel.endswith("_dsp")
    assert only_variant(dense_model(weights[:, :258].copy(), 2.0**17)).kernel.endswith("_dsp")


def test_a_shift_that_no_instruction_takes_is_left_to_the_portable_kernel() -> None:
    weights = np.eye(4, dtype=np.int8)
    assert only_variant(dense_model(weights, 1.0)).kernel == "tesla_fully_connected_s8"
    assert only_variant(dense_model(weights, 8.0)).kernel.endswith("_dsp")
