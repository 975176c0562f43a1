"""The depthwise kernel for the DSP instructions: orientation, strips and scratch.

In: a depthwise convolution of a verified model. Out: its variant, or `None` unless it has 3 by 3
taps, one filter a channel, the same stride of 1 or 2 in both directions, no dilation, and lines of
no more than about 120 pixels.
"""

from dataclasses import dataclass

from tesla_codegen.kernels.packed import PACKED, packed_rows, qualifies
from tesla_codegen.kernels.portable import window_constants
from tesla_codegen.kernels.variant import Cuts, Variant
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import DepthwiseConv2D, Window
from tesla_embed.ir.types import TensorType

_STRIP_BYTES = 4096
"""Scratch that a strip should not exceed: more lines at a time save little."""
_PITCHES = (32, 64, 128)
"""Elements from one line to the next that there is code for."""
_LINE_BYTES = 8
"""Of an element of a line: int16, for four channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """How an image is cut: `strip` lines of outputs at a time, rows or columns, of which each has
    `pitch` elements in a plane."""

    by_columns: bool
    pitch: int
    strip: int


def lines_of(window: Window, target: TensorType) -> Lines | None:
    """The lines of a depthwise convolution, or `None` where they are too long."""
    stride = window.stride_height
    height, width = target.shape[:2]
    by_columns = height > width
    length, lines = (height, width) if by_columns else (width, height)
    needed = (length - 1) * stride + 4
    pitch = next((pitch for pitch in _PITCHES if needed <= pitch), None)
    if pitch is None:
        return None
    room = _STRIP_BYTES // (_LINE_BYTES * pitch)
    strip = min(lines, max(1, (room - 3) // stride + 1))
    return Lines(by_columns=by_columns, pitch=pitch, strip=strip)


def depthwise(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """A variant of a depthwise convolution, or `None` if the kernel does not fit."""
    op = model.graph.ops[index]
    if not isinstance(op, DepthwiseConv2D) or not _fits(op.window):
        return None
    source, target = (model.graph.tensors[i].type for i in (op.input, op.output))
    if source.channels != target.channels or not qualifies(model, cuts, index, pairs=False):
        return None
    stride = op.window.stride_height
    lines = lines_of(op.window, target)
    if lines is None:
        return None
    plane = f"tesla_plane{lines.pitch}"
    own = (
        f".strip = {lines.strip}",
        f".pitch = {lines.pitch}",
        f".by_columns = {int(lines.by_columns)}",
        f".filter = {plane}_dsp" if stride == 1 else f".filter = {plane}_stride2_dsp",
    )
    taps = op.weights.data
    return Variant(
        kernel="tesla_depthwise_conv2d_dsp",
        helpers=("tesla_clamp_dsp", f"{plane}_dsp"),
        row=PACKED,
        rows=packed_rows,
        layer=window_constants(model, op, "tesla_depthwise_plane_t", *own),
        weights=(taps.transpose(0, 2, 1) if lines.by_columns else taps).reshape(-1),
        scratch_bytes=_LINE_BYTES * lines.pitch * ((lines.strip - 1) * stride + 3),
    )


def _fits(window: Window) -> bool:
    strides = (window.stride_height, window.stride_width)
    plain = window.dilation_height == window.dilation_width == 1
    return (window.height, window.width) == (3, 3) and strides in ((1, 1), (2, 2)) and plain
