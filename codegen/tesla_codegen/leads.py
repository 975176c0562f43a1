"""How far before its input an output must begin, so that nothing is overwritten that is still read.

In: an operation, and the types of its input and output in a region. Out: bytes, 0 or less where the
output may begin where the input begins. There is a function for each order in which kernels read
and write; `tesla/kernels.h` says of every kernel which one is its own.

All follow from pairs: once the outputs before byte `written` are made, nothing of the input before
byte `needed` is read any more. The lead is the largest `written - needed`.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.ops import AveragePool2D, Conv2D, DepthwiseConv2D, MaxPool2D, Op, Pad
from tesla_embed.ir.types import TensorType

Int64 = npt.NDArray[np.int64]
Lead = Callable[[Op, TensorType, TensorType], int]
_Windowed = Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D
_NEVER = 2**40
"""A pixel that is never read."""


def elementwise(_op: Op, _source: TensorType, _target: TensorType) -> int:
    """Element i is read before it is written, in ascending order."""
    return 0


def padding(op: Op, source: TensorType, target: TensorType) -> int:
    """Rows are copied in ascending order; a row and its copy must not overlap."""
    assert isinstance(op, Pad)
    row, padded = (type_.shape[1] * type_.channels for type_ in (source, target))
    last = source.shape[0] - 1
    return (op.top + last) * padded + op.left * source.channels + row - last * row


def pixelwise(op: Op, source: TensorType, target: TensorType) -> int:
    """Pixels are written in ascending order, and while one is made only its window is read."""
    return grouped(1)(op, source, target)


def grouped(count: int) -> Lead:
    """`count` pixels at a time; while they are made, only their windows are read."""

    def found(op: Op, source: TensorType, target: TensorType) -> int:
        needed = _needed(op, source, target)
        starts = np.arange(0, len(needed), count)
        ends = np.minimum(starts + count, len(needed))
        return _largest(ends * target.channels, needed[starts] * source.channels)

    return found


def gathered(count: int) -> Lead:
    """`count` pixels at a time, all of whose windows are read before one of them is written."""

    def found(op: Op, source: TensorType, target: TensorType) -> int:
        needed = np.append(_needed(op, source, target), _NEVER)
        ends = np.minimum(np.arange(0, len(needed) - 1, count) + count, len(needed) - 1)
        return _largest(ends * target.channels, needed[ends] * source.channels)

    return found


def rowwise(op: Op, source: TensorType, target: TensorType) -> int:
    """Before a row of outputs is written, all rows of the image under its windows are read."""
    return rows_gathered(target.shape[1])(op, source, target)


def rows_gathered(count: int) -> Lead:
    """`count` pixels at a time, once all rows under the last one's window are read."""

    def found(op: Op, source: TensorType, target: TensorType) -> int:
        assert isinstance(op, _Windowed)
        pixels = target.shape[0] * target.shape[1]
        ends = np.minimum(np.arange(0, pixels, count) + count, pixels)
        below = (ends - 1) // target.shape[1] * op.window.stride_height + op.window.height
        return _largest(ends * target.channels, _row_bytes(source, below - op.window.pad_top))

    return found


def strips(op: Op, source: TensorType, target: TensorType, lines: int) -> int:
    """`lines` rows of outputs at a time, some channels of them after the other: the rows of the
    image under a strip are read until it is complete."""
    assert isinstance(op, _Windowed)
    starts = np.arange(0, target.shape[0], lines)
    ends = np.minimum(starts + lines, target.shape[0])
    needed = np.maximum(starts * op.window.stride_height - op.window.pad_top, 0)
    row = target.shape[1] * target.channels
    return _largest(ends * row, _row_bytes(source, needed))


def tiled(lines: int, columns: int) -> Lead:
    """So many rows of so many pixels at a time, all of whose windows are read before one of them is
    written. Tiles go from left to right; the last ones end where the image ends and may begin
    within those before."""

    def found(op: Op, source: TensorType, target: TensorType) -> int:
        assert isinstance(op, _Windowed)
        height, width = target.shape[:2]
        tops = np.minimum(np.arange(0, height, lines), height - lines)[:, None]
        lefts = np.minimum(np.arange(0, width, columns), width - columns)
        written = ((tops + lines - 1) * width + lefts + columns).reshape(-1)
        rows = np.maximum(tops * op.window.stride_height - op.window.pad_top, 0)
        first = np.maximum(lefts * op.window.stride_width - op.window.pad_left, 0)
        read = np.where(rows < source.shape[0], rows * source.shape[1] + first, _NEVER).reshape(-1)
        needed = np.minimum.accumulate(np.append(read[1:], _NEVER)[::-1])[::-1]
        return _largest(written * target.channels, needed * source.channels)

    return found


def _needed(op: Op, source: TensorType, target: TensorType) -> Int64:
    """For every output pixel, the first pixel of the image that it or a later one reads."""
    assert isinstance(op, _Windowed)
    rows = first_taps(
        target.shape[0], source.shape[0], op.window.stride_height, op.window.pad_top,
        op.window.dilation_height,
    )  # fmt: skip
    columns = first_taps(
        target.shape[1], source.shape[1], op.window.stride_width, op.window.pad_left,
        op.window.dilation_width,
    )  # fmt: skip
    inside = (rows < source.shape[0])[:, None] & (columns < source.shape[1])
    first = np.where(inside, rows[:, None] * source.shape[1] + columns, _NEVER).reshape(-1)
    needed: Int64 = np.minimum.accumulate(first[::-1])[::-1]
    return needed


def first_taps(outputs: int, length: int, stride: int, pad: int, apart: int) -> Int64:
    """Along one axis, the first position inside the image that each output reads; `length` or
    more where it reads none."""
    start = np.arange(outputs) * stride - pad
    first: Int64 = start - np.minimum(start, 0) // apart * apart
    return first


def _row_bytes(source: TensorType, rows: Int64) -> Int64:
    """Where rows of the image begin; those below it are never read."""
    bytes_: Int64 = rows * source.shape[1] * source.channels
    return np.where(rows < source.shape[0], bytes_, _NEVER)


def _largest(written: Int64, needed: Int64) -> int:
    return int((written - needed).max())
