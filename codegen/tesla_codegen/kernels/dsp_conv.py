"""The convolutions for the DSP instructions: packing, scratch and constants.

In: a convolution of a verified model. Out: its variant, or `None` where it would not be exact.
"""

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.channels import reads_all_channels
from tesla_codegen.kernels.dsp_winograd import winograd
from tesla_codegen.kernels.packed import SCALED, qualifies, scaled_rows
from tesla_codegen.kernels.pairing import BLOCK, paired
from tesla_codegen.kernels.portable import layer_constants
from tesla_codegen.kernels.variant import Cuts, Optimize, Variant
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Conv2D, Window
from tesla_embed.ir.types import TensorType

_LEAST_WIDTH = 2
_LINES_BYTES = 12288
"""Scratch that a kernel with a line buffer may take."""
_COLUMNS_BYTES = 16
"""Scratch of a quad of inputs: int16, for two pixels."""
_POINTERS_BYTES = 16
"""Scratch of a tap: two pointers, on whatever machine."""


def convolution(model: Model, cuts: Cuts, index: int, optimize: Optimize) -> Variant | None:
    """A variant of a convolution, or `None` where it would not be exact.

    To save flash, 3 by 3 taps get no kernel of their own, nor do three channels, which a fourth of
    zeros makes a quad; for speed they may take more of it.
    """
    op = model.graph.ops[index]
    if optimize is Optimize.SPEED and (fast := winograd(model, cuts, index)) is not None:
        return fast
    if not isinstance(op, Conv2D) or not qualifies(model, cuts, index, pairs=True, scaled=True):
        return None
    source, target = (model.graph.tensors[i].type for i in (op.input, op.output))
    taps = op.window.height * op.window.width
    bare = taps == 1 and _without_padding(op.window, source, target)
    whole = reads_all_channels(model, op)
    waste = source.channels % BLOCK
    least = BLOCK - 1 if optimize is Optimize.SIZE else BLOCK
    if whole and 0 < waste < least and op.window.dilation_width == 1 and not bare:
        flat = _flat(model, op)
        if flat.scratch_bytes <= _LINES_BYTES:
            return flat
    quads = -(-source.channels // BLOCK)
    width = target.shape[1]
    lined = _lined(op.window) and optimize is not Optimize.SIZE
    if lined and width >= _LEAST_WIDTH and _line_bytes(quads, width) <= _LINES_BYTES:
        return _by_lines(model, op, _line_bytes(quads, width))
    return Variant(
        kernel="tesla_conv2d_1x1_dsp" if bare else "tesla_conv2d_dsp",
        helpers=("tesla_clamp_dsp", "tesla_pair_dsp"),
        row=SCALED,
        rows=scaled_rows,
        layer=layer_constants(model, op),
        weights=paired(channels_first(op.weights.data.astype(np.int8))),
        aligned=True,
        scratch_bytes=quads * _COLUMNS_BYTES
        if bare
        else quads * (taps * _COLUMNS_BYTES + BLOCK) + taps * _POINTERS_BYTES,
    )


def _without_padding(window: Window, source: TensorType, target: TensorType) -> bool:
    """Whether a window of one tap always meets a pixel of the image."""
    last = (
        (target.shape[0] - 1) * window.stride_height - window.pad_top,
        (target.shape[1] - 1) * window.stride_width - window.pad_left,
    )
    inside = last[0] < source.shape[0] and last[1] < source.shape[1]
    return window.pad_top == window.pad_left == 0 and inside


def _flat(model: Model, op: Conv2D) -> Variant:
    """The variant for all channels in every region: taps follow each other without gaps."""
    window = op.window
    source, target = (model.graph.tensors[i].type for i in (op.input, op.output))
    out, height = op.weights.data.shape[:2]
    rows = op.weights.data.astype(np.int8).reshape(out, height, -1)
    even = rows.shape[2] // 2 * 2
    taps = np.concatenate([rows[..., :even].reshape(out, -1), rows[..., even:].reshape(out, -1)], 1)
    quads = np.pad(taps, ((0, 0), (0, -taps.shape[1] % BLOCK))).reshape(out, -1, 2, 2)
    columns = (target.shape[1] - 1) * window.stride_width + window.width
    lines = (window.height - 1) * window.dilation_height + 1 + window.stride_height
    return Variant(
        kernel="tesla_conv2d_flat_dsp",
        helpers=("tesla_clamp_dsp", "tesla_pair_dsp"),
        row=SCALED,
        rows=scaled_rows,
        layer=layer_constants(model, op),
        weights=paired(quads.swapaxes(2, 3).reshape(out, -1)),
        aligned=True,
        scratch_bytes=quads.shape[1] * _COLUMNS_BYTES
        + 2 * lines * (-(-columns * source.channels // 2) * 2),
    )


def _lined(window: Window) -> bool:
    strides = (window.stride_height, window.stride_width)
    dilations = (window.dilation_height, window.dilation_width)
    return (window.height, window.width) == (3, 3) and strides == dilations == (1, 1)


def _line_bytes(quads: int, width: int) -> int:
    """Scratch of three rows of int16 for outputs of so many pixels."""
    return quads * (width + 2) * 3 * BLOCK * 2


def _by_lines(model: Model, op: Conv2D, scratch_bytes: int) -> Variant:
    """The variant for 3 by 3 taps and stride 1, which read a line buffer in place."""
    return Variant(
        kernel="tesla_conv2d_3x3_dsp",
        helpers=("tesla_clamp_dsp", "tesla_pair3x3_dsp", "tesla_pair_dsp"),
        row=SCALED,
        rows=scaled_rows,
        layer=layer_constants(model, op),
        weights=_paired_3x3(op.weights.data.astype(np.int8)),
        aligned=True,
        scratch_bytes=scratch_bytes,
    )


def _paired_3x3(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """As `paired(channels_first(...))`, the halves of a quad before the columns of taps.

    Within the 144 bytes of a block and a quad of channels: row of taps, half of the quad (inputs 0
    and 2, then 1 and 3), column of taps, channels 0, 1 then 2, 3.
    """
    words = paired(channels_first(weights)).view("<i4")
    quads = words.reshape(-1, 3, 3, 2, 2)  # [block and quad, row, column, half, pair]
    return np.ascontiguousarray(quads.transpose(0, 1, 3, 2, 4)).reshape(-1).view(np.int8)


def channels_first(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """`[out, height, width, in]` as `[out, in / 4 * height * width * 4]`.

    Four input channels of all taps, then the next four: leading input channels of all taps are then
    the beginning of a row. Channels are filled up with zeros to a multiple of four.
    """
    out, height, width, inputs = weights.shape
    full = np.pad(weights, ((0, 0), (0, 0), (0, 0), (0, -inputs % BLOCK)))
    quads = full.reshape(out, height * width, -1, BLOCK).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(quads).reshape(out, -1)
