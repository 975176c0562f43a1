"""Convolutions of 3 by 3 taps with 16 products for 36, at 3.56 times the flash: F(2 x 2, 3 x 3).

In: a convolution of a verified model. Out: its variant, or `None` where it would not be exact, or
would not bring enough.

`tesla/winograd.h` has the matrices. Filters are transformed here, to whole numbers of at most 1152,
and inputs at run time, to at most 1020. Their products are added modulo 2^32. What is left at the
end is four times the sum of the layer, so that the only condition is that this sum lies within
-2^29 … 2^29 - 1 in every region; that of `channels` is about the sum with its bias.
"""

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.channels import dense_sum_range
from tesla_codegen.kernels.packed import PACKED, packed_rows, qualifies
from tesla_codegen.kernels.pairing import BLOCK
from tesla_codegen.kernels.portable import layer_constants
from tesla_codegen.kernels.variant import Cuts, Variant
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Conv2D, Window

LARGEST_SHARE = 0.7
"""Of the instructions of the ordinary kernel; beyond, the estimated cycles would be no fewer, since
these kernels take 1.6 cycles for an instruction and ordinary ones 1.1."""
_FILTER = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
"""Twice the matrix G."""
_ROWS, _COLUMNS = 2, 4
"""Outputs that are made at a time."""
_REACH = 2**29
_SCRATCH_BYTES = 12288
"""Scratch that one layer may take, as line buffers may."""
_QUAD_BYTES = 256 + 64 + BLOCK
"""Scratch of a quad of inputs: transformed, kept for the next tiles, and of a pixel of padding."""
_SUMS_BYTES = 512


def winograd(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """A variant of a convolution with transformed filters."""
    op = model.graph.ops[index]
    if not isinstance(op, Conv2D) or not _fits(op.window):
        return None
    source, target = (model.graph.tensors[i].type for i in (op.input, op.output))
    scratch = -(-source.channels // BLOCK) * _QUAD_BYTES + _SUMS_BYTES
    height, width = target.shape[:2]
    if height < _ROWS or width < _COLUMNS or scratch > _SCRATCH_BYTES:
        return None
    if _share(height, width, source.channels, target.channels) > LARGEST_SHARE:
        return None
    if not qualifies(model, cuts, index, pairs=False):
        return None
    if not all(_exact(cut, index) for cut in cuts):
        return None
    return Variant(
        kernel="tesla_conv2d_winograd_dsp",
        helpers=("tesla_clamp_dsp", "tesla_winograd_dsp", "tesla_winograd_inputs_dsp"),
        row=PACKED,
        rows=packed_rows,
        layer=layer_constants(model, op),
        weights=transformed(op.weights.data.astype(np.int8)),
        aligned=True,
        scratch_bytes=scratch,
    )


def _share(height: int, width: int, inputs: int, outputs: int) -> float:
    """About how many instructions this takes of those of `tesla_conv2d_3x3_dsp`.

    At full width, counted in the assembly; of the rest the measured average. Most depends on
    whether there are enough channels to transform inputs for, and outputs to share that.
    """
    quads, blocks = -(-inputs // BLOCK), -(-outputs // BLOCK)
    tiles = -(-height // _ROWS) * -(-width // _COLUMNS)
    transformed_inputs = 256 * quads + 320
    here = tiles * (transformed_inputs + blocks * (352 * quads + 646))
    pairs = height * -(-width // 2)
    there = pairs * (blocks * (246 * quads + 85) + 20) + height * width * quads * 21
    return here / there


def transformed(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int16]:
    """Pack filters `[out, 3, 3, in]` as `(2 G) g (2 G)'`.

    Channels are filled up with zeros to multiples of 4. A block of 4 output channels has 16 places
    of the transformed filters, a place the quads of input channels, a quad 16 numbers: inputs 0 and
    2 of each output channel, then inputs 1 and 3. Returns flat int16.
    """
    gaps = [(0, -weights.shape[0] % BLOCK), (0, 0), (0, 0), (0, -weights.shape[3] % BLOCK)]
    wide = np.pad(weights, gaps).astype(np.int64)
    places = np.einsum("yi,xj,oijc->oyxc", _FILTER, _FILTER, wide)
    parts = places.reshape(-1, BLOCK, 16, wide.shape[3] // BLOCK, 2, 2)
    # from [block, channel, place, quad, which of a pair, half] of outputs and inputs
    ordered = parts.transpose(0, 2, 3, 5, 1, 4)
    return np.ascontiguousarray(ordered).reshape(-1).astype(np.int16)


def _fits(window: Window) -> bool:
    strides = (window.stride_height, window.stride_width)
    dilations = (window.dilation_height, window.dilation_width)
    return (window.height, window.width) == (3, 3) and strides == dilations == (1, 1)


def _exact(dense: Model, index: int) -> bool:
    low, high = dense_sum_range(dense, index)
    return bool((low >= -_REACH).all() and (high < _REACH).all())
