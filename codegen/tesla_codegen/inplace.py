"""Which outputs may share bytes with the input that dies as they are made.

Every kernel says in `tesla/kernels.h` in which order it reads and writes. From that follows, for a
layer and in all its regions, how far before its input an output must begin (its lead), so that
nothing is overwritten which is still to be read: 0 for a sum, a row and a pixel for a convolution
of 3 x 3. A kernel that is not listed here shares nothing.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tesla_codegen.plan import Shared
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import AveragePool2D, Conv2D, DepthwiseConv2D, MaxPool2D, Op, Pad
from tesla_embed.ir.types import TensorType

Int64 = npt.NDArray[np.int64]
_Windowed = Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D


def _elementwise(_op: Op, _source: TensorType, _target: TensorType) -> int:
    """Element i is read before it is written, in ascending order."""
    return 0


def _pixelwise(op: Op, source: TensorType, target: TensorType) -> int:
    """Pixels are written in ascending order, and while one is made only its window is read."""
    assert isinstance(op, _Windowed)
    rows = _first_taps(
        target.shape[0], source.shape[0], op.window.stride_height, op.window.pad_top,
        op.window.dilation_height,
    )  # fmt: skip
    columns = _first_taps(
        target.shape[1], source.shape[1], op.window.stride_width, op.window.pad_left,
        op.window.dilation_width,
    )  # fmt: skip
    pixels = source.shape[0] * source.shape[1]
    inside = (rows < source.shape[0])[:, None] & (columns < source.shape[1])
    first = np.where(inside, rows[:, None] * source.shape[1] + columns, pixels).reshape(-1)
    needed = np.minimum.accumulate(first[::-1])[::-1]  # by this pixel or a later one
    written = np.arange(1, len(first) + 1) * target.channels
    return int((written - needed * source.channels).max())


def _first_taps(outputs: int, length: int, stride: int, pad: int, apart: int) -> Int64:
    """Along one axis, the first position inside the image that each output reads; `length` or
    more where it reads none."""
    start = np.arange(outputs) * stride - pad
    first: Int64 = start - np.minimum(start, 0) // apart * apart
    return first


def _padding(op: Op, source: TensorType, target: TensorType) -> int:
    """Rows are copied in ascending order; a row and its copy must not overlap."""
    assert isinstance(op, Pad)
    row, padded = (type_.shape[1] * type_.channels for type_ in (source, target))
    last = source.shape[0] - 1
    return (op.top + last) * padded + op.left * source.channels + row - last * row


_LEADS: dict[str, Callable[[Op, TensorType, TensorType], int]] = {
    "tesla_add_s8": _elementwise,
    "tesla_average_pool2d_dsp": _pixelwise,
    "tesla_average_pool2d_s8": _pixelwise,
    "tesla_conv2d_parts_s8": _pixelwise,
    "tesla_conv2d_s4": _pixelwise,
    "tesla_conv2d_s8": _pixelwise,
    "tesla_depthwise_conv2d_parts_s8": _pixelwise,
    "tesla_depthwise_conv2d_s4": _pixelwise,
    "tesla_depthwise_conv2d_s8": _pixelwise,
    "tesla_lookup_s8": _elementwise,
    "tesla_max_pool2d_s8": _pixelwise,
    "tesla_mean_dsp": _elementwise,
    "tesla_mean_s8": _elementwise,
    "tesla_pad_s8": _padding,
    "tesla_rescale_s8": _elementwise,
    "tesla_softmax_s8": _elementwise,
}
"""By kernel, the bytes that an output must begin before its input: of an operation, and the types
of its input and output in a region."""


def lead(model: Model, op: Op, kernel: str) -> int | None:
    """How many bytes before each of its inputs the output of `kernel` must begin, in any region.

    `None` where the kernel's contract allows no sharing.
    """
    known = _LEADS.get(kernel)
    if known is None:
        return None
    types = [(region.types[op.input], region.types[op.output]) for region in model.regions]
    return max(0, *(known(op, source, target) for source, target in types))


def shared_buffers(
    model: Model,
    kernels: Sequence[str | None],
    homes: Sequence[int],
    last: dict[int, int],
    outside: set[int],
) -> list[Shared]:
    """What the plan may place in place.

    `kernels` are those of the operations, `None` for what runs no code. `homes` says for every
    tensor the one whose buffer it uses, `last` for each of these the last step that needs it; those
    `outside` of the arena are the caller's.
    """
    graph, found = model.graph, []
    for step, (op, kernel) in enumerate(zip(graph.ops, kernels, strict=True)):
        output = homes[op.output]
        sources = {homes[i] for i in op.inputs if last[homes[i]] == step} - {output} - outside
        if kernel is None or output in outside or not sources:
            continue
        needed = lead(model, op, kernel)
        if needed is None or needed >= graph.tensors[output].type.bytes:
            continue
        names = (graph.tensors[source].name for source in sorted(sources))
        found += [Shared(output=graph.tensors[output].name, input=n, lead=needed) for n in names]
    return found
