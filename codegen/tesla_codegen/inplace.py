"""Which outputs may share bytes with the input that dies as they are made.

Every kernel says in `tesla/kernels.h` in which order it reads and writes. From that follows, for a
layer and in all its regions, how far before its input an output must begin (its lead, see `leads`),
so that nothing is overwritten which is still to be read: 0 for a sum, a row and a pixel for a
convolution of 3 x 3. Some kernels work in place only: output and input then are one buffer. A
kernel that is not listed here shares nothing.
"""

from collections.abc import Sequence

from tesla_codegen.kernels.dsp_depthwise import Lines, lines_of
from tesla_codegen.leads import (
    Lead,
    elementwise,
    gathered,
    grouped,
    padding,
    pixelwise,
    rows_gathered,
    rowwise,
    strips,
    tiled,
)
from tesla_codegen.plan import Shared
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Conv2D, DepthwiseConv2D, Op, Reshape
from tesla_embed.ir.types import TensorType

_PAIR, _FOUR = 2, 4
"""Pixels that kernels for the DSP instructions, and for Helium, compute at a time."""


def _patches(op: Op, source: TensorType, target: TensorType) -> int:
    """Windows of one tap are read where they are, others are gathered."""
    assert isinstance(op, Conv2D)
    single = op.window.height * op.window.width == 1
    return (grouped if single else gathered)(_FOUR)(op, source, target)


def _planes(op: Op, source: TensorType, target: TensorType) -> int:
    """Rows of the image in strips; nothing may share where lines are columns."""
    lines = _lines(op, target)
    return target.bytes if lines.by_columns else strips(op, source, target, lines.strip)


def _lines(op: Op, target: TensorType) -> Lines:
    assert isinstance(op, DepthwiseConv2D)
    lines = lines_of(op.window, target)
    assert lines is not None
    return lines


LEADS: dict[str, Lead] = {
    "tesla_add_dsp": elementwise,
    "tesla_add_helium": elementwise,
    "tesla_add_once_dsp": elementwise,
    "tesla_add_s8": elementwise,
    "tesla_average_pool2d_dsp": pixelwise,
    "tesla_average_pool2d_helium": pixelwise,
    "tesla_average_pool2d_s8": pixelwise,
    "tesla_conv2d_1x1_dsp": gathered(_PAIR),
    "tesla_conv2d_3x3_dsp": rowwise,
    "tesla_conv2d_3x3_helium": rowwise,
    "tesla_conv2d_dense_helium": rows_gathered(_FOUR),
    "tesla_conv2d_dsp": gathered(_PAIR),
    "tesla_conv2d_flat_dsp": rows_gathered(_PAIR),
    "tesla_conv2d_helium": _patches,
    "tesla_conv2d_parts_s8": pixelwise,
    "tesla_conv2d_planes_helium": rows_gathered(_FOUR),
    "tesla_conv2d_s4": pixelwise,
    "tesla_conv2d_s8": pixelwise,
    "tesla_conv2d_winograd_dsp": tiled(2, 4),
    "tesla_depthwise_conv2d_dsp": _planes,
    "tesla_depthwise_conv2d_parts_s8": pixelwise,
    "tesla_depthwise_conv2d_s4": pixelwise,
    "tesla_depthwise_conv2d_s8": pixelwise,
    "tesla_fully_connected_dsp": elementwise,
    "tesla_lookup_s8": elementwise,
    "tesla_max_pool2d_dsp": pixelwise,
    "tesla_max_pool2d_helium": pixelwise,
    "tesla_max_pool2d_s8": pixelwise,
    "tesla_mean_dsp": elementwise,
    "tesla_mean_helium": elementwise,
    "tesla_mean_s8": elementwise,
    "tesla_pad_s8": padding,
    "tesla_rescale_s8": elementwise,
    "tesla_softmax_s8": elementwise,
}
"""By kernel, the bytes that an output must begin before its input."""


def _in_place(op: Op, kernel: str, source: TensorType, target: TensorType) -> bool:
    """Whether a kernel may write each output where its input was, and nowhere else in it.

    Depthwise kernels that take some channels of the whole image after the other do so, if every
    line of it is read before an output comes to lie there.
    """
    if not isinstance(op, DepthwiseConv2D) or source.shape != target.shape:
        return False
    window = op.window
    plain = (window.stride_height, window.stride_width) == (1, 1)
    plain &= window.pad_top < window.height and window.pad_left < window.width
    if kernel == "tesla_depthwise_conv2d_dsp":
        lines = _lines(op, target)
        return plain and lines.strip >= min(target.shape[:2])
    helium = ("tesla_depthwise_conv2d_helium", "tesla_depthwise_conv2d_3x3_helium")
    return plain and kernel in helium


def buffer_homes(model: Model, kernels: Sequence[str | None]) -> list[int]:
    """For every tensor the one whose buffer it uses.

    Reshaping moves nothing; nor do kernels that may only work in place, where their input dies and
    neither end is the caller's. `kernels` are those of the operations, `None` for what runs no
    code.
    """
    graph = model.graph
    homes = list(range(len(graph.tensors)))
    for op in graph.ops:
        if isinstance(op, Reshape):
            homes[op.output] = homes[op.input]
    last = last_steps(model, homes)
    outside = {homes[graph.input], homes[graph.output]}
    for step, (op, kernel) in enumerate(zip(graph.ops, kernels, strict=True)):
        source, target = homes[op.input], homes[op.output]
        if kernel is None or {source, target} & outside or last[source] != step:
            continue
        types = [(region.types[op.input], region.types[op.output]) for region in model.regions]
        if all(_in_place(op, kernel, *pair) for pair in types):
            homes = [source if home == target else home for home in homes]
            last[source] = last[target]
    return homes


def last_steps(model: Model, homes: Sequence[int]) -> dict[int, int]:
    """By tensor, the last step that needs one of those whose buffer it is."""
    return {
        homes[tensor]: step
        for step, op in enumerate(model.graph.ops)
        for tensor in (*op.inputs, op.output)
    }


def lead(model: Model, op: Op, kernel: str) -> int | None:
    """How many bytes before each of its inputs the output of `kernel` must begin, in any region.

    `None` where the kernel's contract allows no sharing.
    """
    known = LEADS.get(kernel)
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
