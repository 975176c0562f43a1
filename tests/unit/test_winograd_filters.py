"""Transformed 3 by 3 filters: their products, how they are packed, and when they are used."""

import dataclasses

import numpy as np
import pytest
from graphs import filtered_model

from tesla_codegen.kernels import dsp_winograd
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.dsp_winograd import transformed
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.ir.fixedpoint import Int64
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import Conv2D, Window
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify

KERNEL = "tesla_conv2d_winograd_dsp"
INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
OUTPUTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def unpacked(packed: np.ndarray, outputs: int, inputs: int) -> Int64:
    """`[out, 4, 4, in]` from packed numbers, both multiples of four."""
    parts = packed.astype(np.int64).reshape(outputs // 4, 4, 4, inputs // 4, 2, 4, 2)
    ordered = parts.transpose(0, 5, 1, 2, 3, 6, 4)  # of a quad: which of a pair, then the half
    return ordered.reshape(outputs, 4, 4, inputs)


@pytest.mark.parametrize("least", [-127, -128])
def test_products_are_four_times_the_convolution(least: int) -> None:
    """Of a tile, with the largest weights and inputs among random ones."""
    rng = np.random.default_rng(4)
    weights = rng.choice(np.array([least, 127, 0, 5], np.int8), (8, 3, 3, 12))
    image = rng.choice([-255, 255, 0, 17], (4, 4, 12))
    places = np.einsum("iy,jx,yxc->ijc", INPUTS, INPUTS, image)
    assert abs(places).max() <= 1020
    filters = unpacked(transformed(weights), 8, 12)
    assert abs(filters).max() <= 1152
    sums = (filters * places).sum(axis=-1)
    tiles = np.einsum("iy,jx,oyx->oij", OUTPUTS, OUTPUTS, sums)
    wanted = np.empty_like(tiles)
    for y in range(2):
        for x in range(2):
            window = image[y : y + 3, x : x + 3]
            wanted[:, y, x] = (weights.astype(np.int64) * window).sum(axis=(1, 2, 3))
    np.testing.assert_array_equal(tiles, 4 * wanted)


def test_the_largest_weights_fit_a_halfword() -> None:
    """Nine of -128 make the largest number there is."""
    packed = transformed(np.full((4, 3, 3, 4), -128, np.int8))
    assert packed.dtype == np.int16 and packed.min() == -1152


def test_filters_take_sixteen_halfwords_for_nine_bytes_and_are_filled_up() -> None:
    assert transformed(np.zeros((8, 3, 3, 12), np.int8)).nbytes == 8 * 12 * 32
    assert transformed(np.zeros((5, 3, 3, 3), np.int8)).nbytes == 8 * 4 * 32


def test_leading_channels_lead_in_every_block_and_place() -> None:
    weights = np.random.default_rng(2).integers(-127, 128, (8, 3, 3, 12)).astype(np.int8)
    whole = transformed(weights).reshape(2, 16, -1)
    narrow = transformed(weights[:4, ..., :8]).reshape(1, 16, -1)
    np.testing.assert_array_equal(whole[:1, :, : narrow.shape[2]], narrow)


def model(
    size: tuple[int, int],
    weights: np.ndarray,
    window: Window | None = None,
    bias: int = 0,
    output_scale: float = 2.0**13,
) -> Model:
    """One convolution that keeps the size of its image; its weights count in units of 1."""
    out, _, _, inputs = weights.shape
    window = window or Window(height=3, width=3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
    shapes = ((*size, inputs), (*window.output_size(*size), out))
    tensors = tuple(
        Tensor(name=name, type=TensorType(shape=shape, channels=shape[-1]))
        for name, shape in zip(("input", "output"), shapes, strict=True)
    )
    op = Conv2D(
        name="conv",
        inputs=(0,),
        output=1,
        weights=Weights(data=weights, scale=np.ones(out)),
        window=window,
    )
    scales = (
        Quantization(scale=1.0, zero_point=-128),
        Quantization(scale=output_scale, zero_point=0),
    )
    types = tuple(
        dataclasses.replace(tensor.type, quantization=q)
        for tensor, q in zip(tensors, scales, strict=True)
    )
    table = Table(bias=np.full(out, bias, np.int32), weight_scale=np.ones(out))
    region = Region(dp=100, types=types, tables=(table,))
    graph = Graph(tensors=tensors, ops=(op,), input=0, output=1)
    return verify(Model(name="net", graph=graph, regions=(region,)))


def kernel(of: Model, optimize: Optimize = Optimize.SPEED) -> str:
    (variant,) = choose(of, Isa.DSP, optimize)
    assert variant is not None
    return variant.kernel


def filters(outputs: int, inputs: int) -> np.ndarray:
    rng = np.random.default_rng(outputs + inputs)
    return rng.integers(-127, 128, (outputs, 3, 3, inputs)).astype(np.int8)


def test_only_speed_spends_the_flash() -> None:
    net = model((8, 8), filters(16, 16))
    assert kernel(net) == KERNEL
    assert kernel(net, Optimize.BALANCED) == "tesla_conv2d_3x3_dsp"
    assert kernel(net, Optimize.SIZE) == "tesla_conv2d_dsp"
    for other in map(filtered_model, range(20)):
        for optimize in (Optimize.BALANCED, Optimize.SIZE):
            kernels = [variant.kernel for variant in choose(other, Isa.DSP, optimize) if variant]
            assert KERNEL not in kernels


@pytest.mark.parametrize(
    ("size", "inputs", "outputs"),
    [
        ((16, 16), 4, 4),  # few outputs share a transformed input
        ((16, 16), 3, 16),  # a quad of three inputs
        ((5, 5), 16, 16),  # tiles for 6 x 8
        ((1, 16), 16, 16),  # a row has no tiles
        ((16, 3), 16, 16),
        ((16, 16), 148, 8),  # more scratch than a layer may take
    ],
)
def test_where_it_brings_too_little_the_ordinary_kernel_stays(
    size: tuple[int, int], inputs: int, outputs: int
) -> None:
    assert kernel(model(size, filters(outputs, inputs), output_scale=2.0**16)) != KERNEL


def test_strides_dilations_and_other_windows_have_no_tiles() -> None:
    weights = filters(16, 16)
    assert kernel(model((12, 12), weights, Window(height=3, width=3))) == KERNEL
    for window in (
        Window(height=3, width=3, stride_width=2),
        Window(height=3, width=3, dilation_height=2),
    ):
        assert kernel(model((12, 12), weights, window)) != KERNEL
    assert kernel(model((12, 12), weights[:, :2].copy(), Window(height=2, width=3))) != KERNEL


def test_weights_of_minus_128_are_taken_where_halfwords_would_not_fit() -> None:
    weights = filters(16, 16)
    weights[1] = -128
    net = model((8, 8), weights)
    assert kernel(net) == KERNEL
    assert kernel(net, Optimize.BALANCED) == "tesla_conv2d_s8"


def test_sums_of_four_times_more_than_int32_are_left_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bias brings an accumulator below 2^29 whose sum alone is not; so many channels take more
    scratch than allowed."""
    monkeypatch.setattr(dsp_winograd, "_SCRATCH_BYTES", 2**20)
    largest = np.full((8, 3, 3, 1842), 127, np.int8)
    assert (
        kernel(model((4, 4), largest[..., :1841].copy(), bias=-(2**28), output_scale=2.0**22))
        == KERNEL
    )
    assert kernel(model((4, 4), largest, bias=-(2**28), output_scale=2.0**22)) != KERNEL


def test_scratch_and_flash_are_as_documented() -> None:
    net = model((8, 8), filters(64, 64))
    (variant,) = choose(net, Isa.DSP, Optimize.SPEED)
    assert variant is not None and variant.weights is not None
    assert variant.scratch_bytes == 16 * 324 + 512
    assert variant.weights.nbytes == 64 * 64 * 32
