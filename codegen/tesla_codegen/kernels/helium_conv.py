"""Convolutions for Helium: which of four kernels, its packing, scratch and constants.

Two output channels make a pair, 16 input channels a block. A pair's weights are a stream of blocks
of 2 x 16 bytes: leading output channels are leading pairs, and with `[block][tap]` leading input
channels are the beginning of every stream.
"""

import numpy as np

from tesla_codegen.kernels.channels import reads_all_channels
from tesla_codegen.kernels.helium_tables import (
    LANES,
    MOST_ROWS,
    ROW,
    Int8,
    Int32,
    constants,
    filled,
    qualifies,
    row,
)
from tesla_codegen.kernels.portable import layer_constants
from tesla_codegen.kernels.variant import Cuts, Variant
from tesla_codegen.tables import TablePool
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Conv2D, Window
from tesla_embed.ir.types import TensorType


def convolution(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """A variant of a convolution, or `None` where it would not be exact."""
    op = model.graph.ops[index]
    if not isinstance(op, Conv2D) or not qualifies(model, cuts, index):
        return None
    source, target = (model.graph.tensors[i].type for i in (op.input, op.output))
    whole = reads_all_channels(model, op)
    weights = op.weights.data.astype(np.int8)
    planes = -(-source.channels // LANES)
    if whole and source.channels % LANES and _dense(op.window):
        kernel, helper = "tesla_conv2d_dense_helium", "tesla_helium_patches"
        packed = pairs(weights.reshape(len(weights), -1))
        scratch = _window_scratch(op.window, source.channels, target.shape[1], 1)
    elif _three_by_three(op.window) and 5 * _fours(target) <= 6 * target.shape[1]:
        kernel, helper = "tesla_conv2d_3x3_helium", "tesla_helium_rows"
        ahead = np.zeros(LANES, np.int8)  # the kernel loads one vector more than it uses
        packed = np.concatenate([pairs(_blocked(weights)), ahead])
        scratch = 3 * (_fours(target) + 2) * planes * LANES
    elif _dense(op.window) and op.window.height * op.window.width > 1:
        kernel, helper = "tesla_conv2d_planes_helium", "tesla_helium_patches"
        packed = pairs(_blocked(weights))
        scratch = _window_scratch(op.window, LANES, target.shape[1], planes)
    else:
        kernel, helper = "tesla_conv2d_helium", "tesla_helium_patches"
        packed = pairs(_blocked(weights))
        taps = op.window.height * op.window.width
        scratch = 4 * taps * planes * LANES
    return Variant(
        kernel=kernel,
        helpers=(helper,),
        row=ROW,
        rows=_rows,
        layer=layer_constants(model, op),
        weights=packed,
        scratch_bytes=scratch,
    )


def pairs(streams: Int8) -> Int8:
    """Weights `[out, length]` as `[out / 2][length / 16][2][16]`, zeros filling up; flat."""
    wide = filled(filled(streams, 0, 2), 1, LANES)
    blocks = wide.reshape(len(wide) // 2, 2, -1, LANES).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocks).reshape(-1).astype(np.int8)


def pair_table(bias: Int32, multiplier: Int32, shift: Int32) -> Int32:
    """Per pair of channels two biases, then multiplier and shift of each; `[pairs, 6]`."""
    biases, *factors = (filled(x, 0, 2).reshape(-1, 2) for x in (bias, multiplier, shift))
    interleaved = np.stack(factors, axis=2).reshape(-1, 4)
    return np.concatenate([biases, interleaved], axis=1).astype(np.int32)


def _rows(dense: Model, index: int, pool: TablePool) -> list[tuple[str, ...]]:
    source = dense.regions[0].types[dense.graph.ops[index].input]
    return row(dense, index, pool, pair_table(*constants(dense, index)), source.channels)


def _blocked(weights: Int8) -> Int8:
    """`[out, height, width, in]` as streams `[out, in / 16 * taps * 16]`, zeros filling up."""
    wide = filled(weights, 3, LANES)
    out, taps = len(wide), wide.shape[1] * wide.shape[2]
    blocks = wide.reshape(out, taps, -1, LANES).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocks).reshape(out, -1).astype(np.int8)


def _fours(target: TensorType) -> int:
    """Columns of an image that are computed four at a time."""
    return -(-target.shape[1] // 4) * 4


def _dense(window: Window) -> bool:
    return window.dilation_height == window.dilation_width == 1 and window.height <= MOST_ROWS


def _three_by_three(window: Window) -> bool:
    sizes = (window.height, window.width)
    steps = (window.stride_height, window.stride_width)
    return sizes == (3, 3) and steps == (1, 1) and _dense(window)


def _window_scratch(window: Window, unit: int, columns: int, planes: int) -> int:
    """Four patches and the rows of the window, each with room for a vector behind it."""
    patch = -(-window.height * window.width * unit // LANES) * LANES * planes
    pixels = (columns - 1) * window.stride_width + window.width
    return 4 * patch + LANES + window.height * (pixels * unit * planes + LANES)
