"""Depthwise convolutions for Helium: packing, scratch and constants.

Sixteen channels lie in the lanes of a vector. Products of bytes come out of the even lanes and of
the odd ones, and are widened in the same way once more: the table of constants is in that order.
"""

import numpy as np

from tesla_codegen.kernels.helium_tables import (
    LANES,
    MOST_ROWS,
    ROW,
    Int32,
    constants,
    filled,
    qualifies,
    row,
)
from tesla_codegen.kernels.portable import window_constants
from tesla_codegen.kernels.variant import Cuts, Variant
from tesla_codegen.tables import TablePool
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import DepthwiseConv2D

_ORDER = np.array([0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15])


def depthwise(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """A variant of a depthwise convolution, or `None` where it would not be exact."""
    op = model.graph.ops[index]
    if not isinstance(op, DepthwiseConv2D) or not qualifies(model, cuts, index):
        return None
    source, target = (model.graph.tensors[i].type for i in (op.input, op.output))
    window = op.window
    plain = window.dilation_height == window.dilation_width == 1
    plain = plain and max(window.height, window.width) <= MOST_ROWS
    if source.channels != target.channels or not plain or (op.weights.data == -128).any():
        return None
    by_columns = target.shape[0] > target.shape[1]  # fewer lines cost less
    wide = filled(op.weights.data, 0, LANES).astype(np.int8)
    turned = wide.transpose(0, 2, 1) if by_columns else wide
    taps = turned.reshape(-1, LANES, window.height * window.width).transpose(0, 2, 1)
    lines = (window.width, window.height) if by_columns else (window.height, window.width)
    stride = window.stride_height if by_columns else window.stride_width
    pixels = (max(target.shape[:2]) - 1) * stride + lines[1]
    small = lines == (3, 3) and stride <= 2
    own = f".by_columns = {int(by_columns)}"
    return Variant(
        kernel="tesla_depthwise_conv2d_3x3_helium" if small else "tesla_depthwise_conv2d_helium",
        helpers=("tesla_helium_depthwise_3x3",) if small else (),
        row=ROW,
        rows=_rows,
        layer=window_constants(model, op, "tesla_helium_depthwise_t", own),
        weights=np.ascontiguousarray(taps).reshape(-1),
        scratch_bytes=lines[0] * pixels * LANES,
    )


def _rows(dense: Model, index: int, pool: TablePool) -> list[tuple[str, ...]]:
    """Per 16 channels 16 biases, multipliers and shifts, in the order of the lanes."""
    source = dense.regions[0].types[dense.graph.ops[index].input]
    lanes = [filled(v, 0, LANES).reshape(-1, LANES)[:, _ORDER] for v in constants(dense, index)]
    table: Int32 = np.stack(lanes, axis=1).astype(np.int32)
    return row(dense, index, pool, table, source.channels)
