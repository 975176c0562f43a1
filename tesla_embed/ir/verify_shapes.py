"""The verifier's rules on shapes: what fits an operation at full width."""

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from tesla_embed.ir.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Logistic,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Rescale,
    Reshape,
    Softmax,
    Weighted,
    Window,
)
from tesla_embed.ir.rules import require
from tesla_embed.ir.types import TensorType, Weights
from tesla_embed.ir.verify_numbers import check_scale

BITS = (4, 8)
"""Widths of a weight that there are kernels for."""
MAX_WINDOW = 255
"""Largest window, stride and dilation, in pixels: what the kernels' 8-bit sizes hold."""

MAX_SOFTMAX = 511
"""Longest row of a softmax: with more, the sum of exponentials may leave its fixed-point range."""
MAX_INPUTS = 255
"""Most inputs of one operation."""


def check_shapes(op: Op, sources: Sequence[TensorType], target: TensorType) -> None:
    """Shapes and element types of an operation between full-width types."""
    source = sources[0]
    same = all(type_.dtype is target.dtype for type_ in sources)
    require(same, op.name, "cannot change the element type")
    low, high = {Add: (2, 2), Concat: (2, MAX_INPUTS)}.get(type(op), (1, 1))
    fits = low <= len(sources) <= high
    require(fits, op.name, f"cannot have {len(sources)} inputs")
    expected: tuple[int, ...]
    match op:
        case FullyConnected():
            expected = _fully_connected(op, source)
        case Conv2D():
            expected = _convolution(op, source)
        case DepthwiseConv2D():
            expected = _depthwise(op, source)
        case MaxPool2D() | AveragePool2D():
            dense = op.window.dilation_height == op.window.dilation_width == 1
            require(dense, op.name, "pools have no dilation")
            expected = (*_windowed(op.name, op.window, source), source.channels)
        case Reshape():
            require(target.size == source.size, op.name, "changes the number of elements")
            return
        case Add() | Rescale() | Softmax() | Logistic():
            _elementwise(op, sources, target)
            return
        case Concat():
            expected = _concatenation(op, sources)
        case Pad():
            expected = _padded(op, source)
        case Mean():
            require(len(source.shape) == 3, op.name, f"needs an image, gets {source.shape}")
            expected = (1, 1, source.channels)
        case _:
            assert_never(op)
    require(target.shape == expected, op.name, f"makes {expected}, not {target.shape}")
    innermost = target.channels == target.shape[-1]
    require(innermost, op.name, "output channels must be innermost")


def _elementwise(
    op: Add | Rescale | Softmax | Logistic, sources: Sequence[TensorType], target: TensorType
) -> None:
    """Operations whose output has the shape of every input."""
    for source in sources:
        alike = source.shape == target.shape and source.channels == target.channels
        text = f"needs tensors of shape {target.shape}, gets {source.shape}"
        require(alike, op.name, text if len(sources) > 1 else "changes shape or channels")
    if isinstance(op, Softmax):
        length = target.shape[-1]
        fits = length <= MAX_SOFTMAX
        require(fits, op.name, f"takes at most {MAX_SOFTMAX} values, gets {length}")


def _concatenation(op: Concat, sources: Sequence[TensorType]) -> tuple[int, ...]:
    shapes = [type_.shape for type_ in sources]
    text = " and ".join(map(str, shapes))
    require(0 <= op.axis < len(shapes[0]), op.name, f"has no axis {op.axis}")
    rests = {(*shape[: op.axis], *shape[op.axis + 1 :]) for shape in shapes}
    alike = len(rests) == 1 and len({len(shape) for shape in shapes}) == 1
    require(alike, op.name, f"cannot join {text} along axis {op.axis}")
    innermost = all(type_.channels == type_.shape[-1] for type_ in sources)
    require(innermost, op.name, "input channels must be innermost")
    length = sum(shape[op.axis] for shape in shapes)
    return (*shapes[0][: op.axis], length, *shapes[0][op.axis + 1 :])


def _padded(op: Pad, source: TensorType) -> tuple[int, ...]:
    require(len(source.shape) == 3, op.name, f"needs an image, gets {source.shape}")
    pads = (op.top, op.bottom, op.left, op.right)
    require(all(0 <= n <= MAX_WINDOW for n in pads), op.name, "padding must be 0 to 255")
    height, width, channels = source.shape
    return height + op.top + op.bottom, width + op.left + op.right, channels


def _fully_connected(op: FullyConnected, source: TensorType) -> tuple[int, ...]:
    _weights(op, op.weights, 2)
    require(len(source.shape) == 1, op.name, f"needs a vector, gets shape {source.shape}")
    out, columns = op.weights.data.shape
    require(columns == source.size, op.name, f"needs {columns} inputs, gets {source.size}")
    return (out,)


def _convolution(op: Conv2D, source: TensorType) -> tuple[int, ...]:
    _weights(op, op.weights, 4)
    out, height, width, inputs = op.weights.data.shape
    window = (op.window.height, op.window.width)
    require((height, width) == window, op.name, "weights do not match the window")
    fits = inputs == source.channels
    require(fits, op.name, f"needs {inputs} channels, gets {source.channels}")
    return (*_windowed(op.name, op.window, source), out)


def _depthwise(op: DepthwiseConv2D, source: TensorType) -> tuple[int, ...]:
    _weights(op, op.weights, 3)
    out, height, width = op.weights.data.shape
    window = (op.window.height, op.window.width)
    require((height, width) == window, op.name, "weights do not match the window")
    fits = out % source.channels == 0
    require(fits, op.name, f"has {out} filters, no multiple of {source.channels} channels")
    return (*_windowed(op.name, op.window, source), out)


def _weights(op: Weighted, weights: Weights, rank: int) -> None:
    data = weights.data
    require(data.ndim == rank and data.size > 0, op.name, f"weights need {rank} dimensions")
    if data.dtype == np.float32:
        require(weights.scale is None, op.name, "float weights have no scale")
        require(weights.bits == 8, op.name, "float weights have no width in bits")
        require(bool(np.isfinite(data).all()), op.name, "weights are not finite")
        return
    require(data.dtype == np.int8, op.name, f"weights are {data.dtype}, not int8 or float32")
    require(weights.bits in BITS, op.name, f"weights of {weights.bits} bits are not 4 or 8")
    low, high = int(data.min()), int(data.max())
    fits = weights.bits == 8 or -weights.largest <= low <= high <= weights.largest
    limits = f"-{weights.largest}…{weights.largest}"
    require(fits, op.name, f"int{weights.bits} weights must lie in {limits}")
    require(weights.scale is not None, op.name, "int8 weights need a scale")
    assert weights.scale is not None  # for the type checker
    check_scale(op.name, weights.scale, len(data))


def _windowed(name: str, window: Window, source: TensorType) -> tuple[int, int]:
    require(len(source.shape) == 3, name, f"needs an image, gets shape {source.shape}")
    sizes = [window.height, window.width, window.stride_height, window.stride_width]
    sizes += [window.dilation_height, window.dilation_width]
    fits = all(1 <= n <= MAX_WINDOW for n in sizes)
    require(fits, name, "window, stride and dilation must be 1 to 255")
    pads = (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right)
    require(max(pads) <= MAX_WINDOW, name, "padding must be at most 255")
    vertical = all(0 <= n < window.reach[0] for n in pads[:2])
    horizontal = all(0 <= n < window.reach[1] for n in pads[2:])
    require(vertical and horizontal, name, "padding must be smaller than the window")
    rows, columns = window.output_size(source.shape[0], source.shape[1])
    require(rows >= 1 and columns >= 1, name, f"window is larger than the image {source.shape}")
    return rows, columns
