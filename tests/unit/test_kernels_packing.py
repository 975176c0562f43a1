"""Packed weights and requantisation in few instructions: layouts, prefixes, and where they end."""

import dataclasses

import numpy as np
import pytest
from graphs import extreme_model, quantized_model

from tesla_codegen.kernels.channels import channel_table, layer_requantization, scaled_table
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.dsp_conv import channels_first
from tesla_codegen.kernels.pairing import (
    halves_fit,
    paired,
    paired_compactly,
    paired_exactly,
    part_that_fits,
)
from tesla_codegen.kernels.variant import Isa, Optimize, Variant
from tesla_embed.ir.fixedpoint import Int64, requantize, requantize_once
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import Conv2D, FullyConnected, Weighted, Window
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
    beside = np.array([[0, 5, 127, 1], [-128, -128, -128, 0], [1, 2, 3, 4], [0, 0, 0, 0]], np.int8)
    assert halves_fit(beside)  # beside weights of 0 and more they do
    np.testing.assert_array_equal(unpacked(paired(beside), 4), beside)


def test_multiples_of_four_take_exactly_their_bytes_and_others_are_filled_up() -> None:
    assert len(paired(np.zeros((8, 12), np.int8))) == 96
    assert len(paired(np.zeros((5, 3), np.int8))) == 32


@pytest.mark.parametrize(("out", "size"), [(1, 8), (2, 8), (3, 16), (4, 16), (10, 40), (11, 48)])
def test_one_or_two_rows_behind_the_last_block_take_half_of_one(out: int, size: int) -> None:
    rows = np.random.default_rng(out).integers(-127, 128, (out, 4)).astype(np.int8)
    packed = paired_compactly(rows)
    assert len(packed) == size
    whole = paired(rows).reshape(-1, 2, 2, 4)  # [block, word, pair, bytes]
    assert packed[: size // 16 * 16].tobytes() == whole[: size // 16].tobytes()
    if size % 16:
        assert packed[-8:].tobytes() == whole[-1, :, 0].tobytes()


def test_sums_are_split_into_as_few_parts_as_fit() -> None:
    rows = np.zeros((2, 400), np.int8)
    assert part_that_fits(rows, 0, 255) == 100
    rows[1] = 127  # 259 of them fit
    assert part_that_fits(rows, 0, 255) == 50
    assert part_that_fits(rows, -255, 0) == 50
    assert part_that_fits(rows[::-1], 0, 255) == 100  # even channels may be as large
    rows[1, 200:] = -127
    assert part_that_fits(rows, 0, 255) == 100  # sums of each sign fit
    assert part_that_fits(rows, -128, 127) == 100


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


def scaled(table: np.ndarray, early: int, accumulator: Int64, offset: int, *, away: bool) -> Int64:
    """What a convolution makes of accumulators `[N, out]`, `offset` the zero point."""
    _, multiplier, scale = table.astype(np.int64).T
    high = accumulator + ((accumulator * multiplier + 2**31) >> 32)
    high += (high >> 31) * away
    rounding = ((offset + 128) << 16) + 2**15 + away + 2 * (early > 0)  # as tesla_pair_rounding
    saturated: Int64 = np.clip((((high >> early) * scale + rounding) >> 16) - 128, -128, 127)
    return saturated


def accumulators(rng: np.random.Generator, factor: np.ndarray, reach: int) -> Int64:
    """`[6000, out]` within `reach`: anywhere, and those around the halves of outputs."""
    ties = np.rint((rng.integers(-140, 140, (3000, 1)) + 0.5) / factor)
    ties += rng.integers(-2, 3, ties.shape)
    wide = rng.integers(-reach + 1, reach, (3000, len(factor)))
    near = np.clip(ties, -reach + 1, reach - 1).astype(np.int64)
    return np.concatenate([wide, near])


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
                accumulator = accumulators(rng, factor, 2**29)
                rounded = (requantize_once if once else requantize)(accumulator, q.factors)
                wanted = np.clip(rounded + q.output_offset, -128, 127)
                np.testing.assert_array_equal(finished(table, accumulator, once=once), wanted)
    assert tables > 50


def test_scaled_tables_round_as_the_interpreter_and_halves_matter_only_without_relu() -> None:
    """Halves of negative sums are met; where the sign is not corrected, the clamp hides them."""
    rng = np.random.default_rng(4)
    kinds = {(False, False): 0, (True, False): 0, (True, True): 0}
    hidden = 0
    for seed in range(80):
        model = (extreme_model if seed % 2 else quantized_model)(seed)
        for region in model.regions:
            dense = specialize(model, region)
            for index, op in enumerate(dense.graph.ops):
                table = scaled_table(dense, index) if isinstance(op, Conv2D) else None
                if table is None:
                    continue
                kinds[table.away, table.early > 0] += 1
                q = layer_requantization(dense, index)
                factor = q.factors.multiplier / 2.0**31 * 2.0**q.factors.shift
                reach = int(min(2**29, 2**15 * 0.9 / factor.max()))
                accumulator = accumulators(rng, factor, reach)
                rounded = requantize(accumulator, q.factors)
                clamp = (q.activation_min, q.activation_max)
                wanted = np.clip(rounded + q.output_offset, *clamp)
                made = [
                    scaled(table.channels, table.early, accumulator, q.output_offset, away=away)
                    for away in (False, True)
                ]
                np.testing.assert_array_equal(np.clip(made[table.away], *clamp), wanted)
                if table.away and not table.early:
                    assert q.activation_min < q.output_offset
                elif not table.away:
                    hidden += int((made[0] != made[1]).sum())
    assert min(kinds.values()) > 2, kinds
    assert hidden > 100


def test_halves_of_negative_sums_differ_where_the_sign_is_not_corrected() -> None:
    table = np.array([[0, 2 * 2**30 - 2**32, 2**8]], np.int32)  # a quarter of 2^-7
    halves = -(2 * np.arange(1, 100, 2, dtype=np.int64)[:, None] * 2**7)
    plain, away = (scaled(table, 0, halves, 0, away=away) for away in (False, True))
    np.testing.assert_array_equal(away, plain - 1)


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


def conv_model(weights: np.ndarray, taps: int = 1, image: int = 2) -> Model:
    """One convolution whose weights `[out, in]` count in units of 1, under the first of `taps` by
    `taps` taps, with a square image that is padded to keep its size."""
    dense = dense_model(weights, 2.0**17)
    tensors = tuple(
        dataclasses.replace(
            tensor,
            type=dataclasses.replace(tensor.type, shape=(image, image, tensor.type.channels)),
        )
        for tensor in dense.graph.tensors
    )
    op = dense.graph.ops[0]
    assert isinstance(op, FullyConnected) and op.weights.scale is not None
    data = np.zeros((len(weights), taps, taps, weights.shape[1]), np.int8)
    data[:, 0, 0], above = weights, (taps - 1) // 2
    conv = Conv2D(
        name="conv",
        inputs=(0,),
        output=1,
        weights=Weights(data=data, scale=op.weights.scale),
        window=Window(
            height=taps,
            width=taps,
            pad_top=above,
            pad_bottom=taps - 1 - above,
            pad_left=above,
            pad_right=taps - 1 - above,
        ),
    )
    region = dense.regions[0]
    types = tuple(
        dataclasses.replace(tensor.type, quantization=old.quantization)
        for tensor, old in zip(tensors, region.types, strict=True)
    )
    graph = dataclasses.replace(dense.graph, tensors=tensors, ops=(conv,))
    return verify(
        dataclasses.replace(dense, graph=graph, regions=(dataclasses.replace(region, types=types),))
    )


def test_an_odd_channel_of_a_convolution_with_too_large_a_sum_is_left_to_the_portable_kernel() -> (
    None
):
    """260 weights of 127 times 255 exceed 2^23; as an even channel they may."""
    weights = np.zeros((2, 260), np.int8)
    weights[1] = 127
    assert only_variant(conv_model(weights)).kernel == "tesla_conv2d_s8"
    assert only_variant(conv_model(weights[::-1].copy())).kernel == "tesla_conv2d_1x1_dsp"
    assert only_variant(conv_model(weights[:, :256].copy())).kernel == "tesla_conv2d_1x1_dsp"


def test_channels_that_never_scale_take_no_more_scratch_than_line_buffers() -> None:
    """Rows of the padded image are kept only where that is little, and never for a bare tap."""
    weights = np.ones((4, 61), np.int8)
    bare = only_variant(conv_model(weights, image=48))
    assert (bare.kernel, bare.scratch_bytes) == ("tesla_conv2d_1x1_dsp", 16 * 16)
    small = only_variant(conv_model(weights[:, :3].copy(), taps=3, image=48))
    assert small.kernel == "tesla_conv2d_flat_dsp"
    assert small.scratch_bytes == 7 * 16 + 4 * 50 * 3 * 2  # quads of taps, and rows of int16
    for taps, image in ((3, 48), (5, 48), (3, 90)):
        large = only_variant(conv_model(weights, taps=taps, image=image))
        assert large.kernel == "tesla_conv2d_dsp"
        assert large.scratch_bytes == 16 * (taps**2 * 16 + 4) + taps**2 * 16
    lines = only_variant(conv_model(weights, taps=3, image=18))
    assert lines.kernel == "tesla_conv2d_flat_dsp"
    assert lines.scratch_bytes == 138 * 16 + 4 * 20 * 61 * 2 <= 12288
    assert only_variant(conv_model(weights, taps=3, image=20)).kernel == "tesla_conv2d_3x3_dsp"


def test_a_fully_connected_layer_is_split_instead() -> None:
    weights = np.zeros((2, 260), np.int8)
    weights[1] = 127
    for rows, part in ((weights, 33), (weights[::-1].copy(), 65)):
        variant = only_variant(dense_model(rows, 2.0**17))
        assert variant.kernel == "tesla_fully_connected_dsp" and variant.layer is not None
        assert f".part = {part}" in variant.layer.fields


def test_a_shift_that_no_instruction_takes_is_left_to_the_portable_kernel() -> None:
    weights = np.eye(4, dtype=np.int8)
    assert only_variant(dense_model(weights, 1.0)).kernel == "tesla_fully_connected_s8"
    assert only_variant(dense_model(weights, 8.0)).kernel.endswith("_dsp")
