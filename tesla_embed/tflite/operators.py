"""What each operator of a `.tflite` file becomes in the intermediate representation.

One function for each kind: it reads the operator's options and constants, checks that they say
something that we compute with the same bits, and adds operations to the draft; those with weights
are in `weighted`. Numbers of fields are those of TensorFlow's `schema.fbs`.
"""

import dataclasses
import math
from collections.abc import Callable

from tesla_embed.ir.ops import (
    UNIT,
    Activation,
    Add,
    AveragePool2D,
    Concat,
    Logistic,
    MaxPool2D,
    Mean,
    Pad,
    Rescale,
    Softmax,
)
from tesla_embed.ir.types import TensorType
from tesla_embed.tflite.draft import Draft, Node, Shape, file_shape
from tesla_embed.tflite.options import fused_activation, image, numbers, same_quantization, window
from tesla_embed.tflite.weighted import conv2d, depthwise_conv2d, fully_connected


def pool(draft: Draft, node: Node) -> None:
    """Maximum or average; a fused activation becomes an operation of its own."""
    source = image(draft, node)
    size = (node.option(4, "i"), node.option(3, "i"))
    view = window(draft, node, source, size)
    entry = draft.types[source]
    type_ = draft.type(node, (*view.output_size(*entry.shape[:2]), entry.channels))
    same_quantization(node, entry, type_)
    kind = MaxPool2D if node.operator.kind == "MAX_POOL_2D" else AveragePool2D
    made = draft.add(kind(**draft.ends(node, source), window=view), type_)
    activation = fused_activation(node, 5)
    if activation is not Activation.NONE:
        clamp = Rescale(**draft.ends(node, made), activation=activation)
        made = draft.add(clamp, type_)
    draft.finish(node, made)


def add(draft: Draft, node: Node) -> None:
    """Two activations of one shape."""
    sources = [draft.source(node, position) for position in (0, 1)]
    shapes = [draft.types[source].shape for source in sources]
    node.require(shapes[0] == shapes[1], f"adds {shapes[0]} and {shapes[1]}; shapes must be equal")
    op = Add(**draft.ends(node, *sources), activation=fused_activation(node, 0))
    draft.finish(node, draft.add(op, draft.type(node, shapes[0])))


def mean(draft: Draft, node: Node) -> None:
    """Over the two dimensions of an image, or one where the other has a single pixel."""
    source = image(draft, node)
    axes = numbers(node, 1, "axes")
    over, (height, width, channels) = {axis % 4 for axis in axes}, draft.types[source].shape
    left = [size for axis, size in ((1, height), (2, width)) if axis not in over]
    text = f"averages over axes {sorted(axes)}; only height and width, 1 and 2, are supported"
    known = over <= {1, 2} and set(left) <= {1} and len(over) == len(axes)
    node.require(known and all(-4 <= axis < 4 for axis in axes), text)
    shape = (1, 1, channels) if node.option(0, "B") else (*left, channels)
    target = dataclasses.replace(draft.type(node, shape), shape=(1, 1, channels))
    made = draft.add(Mean(**draft.ends(node, source)), target)
    draft.finish(node, draft.reshaped(node, made, shape))


def concatenation(draft: Draft, node: Node) -> None:
    """Tensors of one quantisation, as LiteRT demands."""
    count = len(node.operator.inputs)
    node.require(count > 0, "has no inputs")
    sources = [draft.source(node, position) for position in range(count)]
    types = [draft.types[source] for source in sources]
    node.require(fused_activation(node, 1) is Activation.NONE, "has a fused activation")
    rank = len(types[0].shape) + 1
    axis = node.option(0, "i")
    node.require(-rank <= axis < rank, f"has no axis {axis}")
    axis = axis % rank - 1
    node.require(axis >= 0, "joins along the batch; only one sample at a time is supported")
    rests = {(*type_.shape[:axis], *type_.shape[axis + 1 :]) for type_ in types}
    alike = len(rests) == 1 and len({len(type_.shape) for type_ in types}) == 1
    shapes = ", ".join(str(type_.shape) for type_ in types)
    node.require(alike, f"cannot join {shapes} along axis {axis + 1}")
    length = sum(type_.shape[axis] for type_ in types)
    first = types[0].shape
    target = draft.type(node, (*first[:axis], length, *first[axis + 1 :]))
    for type_ in types:
        same_quantization(node, type_, target)
    if count == 1:
        draft.finish(node, sources[0])
        return
    op = Concat(**draft.ends(node, *sources), axis=axis)
    draft.finish(node, draft.add(op, target))


def pad(draft: Draft, node: Node) -> None:
    """Zeros around an image."""
    source = image(draft, node)
    amounts = numbers(node, 1, "paddings", "int32 int64")
    node.require(len(amounts) == 8, f"has {len(amounts)} paddings; 8 are supported")
    _, _, top, bottom, left, right, *channels = amounts
    inside = amounts[:2] == channels == [0, 0] and min(amounts) >= 0
    node.require(inside, f"pads by {amounts}; only height and width may be padded")
    height, width, depth = draft.types[source].shape
    target = draft.type(node, (height + top + bottom, width + left + right, depth))
    same_quantization(node, draft.types[source], target)
    op = Pad(**draft.ends(node, source), top=top, bottom=bottom, left=left, right=right)
    draft.finish(node, draft.add(op, target))


def reshape(draft: Draft, node: Node) -> None:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: whatever the shape, the elements stay where they are."""
    source = draft.source(node)
    entry = draft.types[source]
    shape = _requested(node, entry) if node.operator.kind == "RESHAPE" else None
    if shape is None:
        shape = _said(draft, node)
    same = math.prod(shape) == entry.size  # Python integers: they cannot overflow
    node.require(same, f"turns shape {entry.shape} into {shape}, of another size")
    same_quantization(node, entry, draft.type(node, shape))
    draft.finish(node, draft.reshaped(node, source, shape))


def rescale(draft: Draft, node: Node) -> None:
    """RELU, RELU6, RELU_N1_TO_1, and QUANTIZE from int8 to int8."""
    alone = node.operator.kind
    source = draft.source(node)
    op = Rescale(
        **draft.ends(node, source),
        activation=Activation.NONE if alone == "QUANTIZE" else Activation[alone],
    )
    draft.finish(node, draft.add(op, draft.type(node, draft.types[source].shape)))


def unit(draft: Draft, node: Node) -> None:
    """SOFTMAX over the last dimension, and LOGISTIC: results from 0 to 1."""
    source = draft.source(node)
    softmax = node.operator.kind == "SOFTMAX"
    beta = 0.0 if node.operator.options is None else node.operator.options.real(0)
    node.require(beta == 1.0 or not softmax, f"has beta {beta}; only 1 is supported")
    target = draft.type(node, draft.types[source].shape)
    text = "its output must have scale 1/256 and zero point -128"
    node.require(draft.floats or target.quantization == UNIT, text)
    kind = Softmax if softmax else Logistic
    draft.finish(node, draft.add(kind(**draft.ends(node, source)), target))


def dequantize(_draft: Draft, node: Node) -> None:
    """Only an output may become real numbers again; that is dealt with before."""
    if node.file.tensors[node.input(0)].filled:
        node.refuse("restores weights of another type; convert the network without optimisations")
    node.refuse("makes real numbers inside the network; only its output may be dequantised")


CONVERTERS: dict[str, Callable[[Draft, Node], None]] = {
    "ADD": add,
    "AVERAGE_POOL_2D": pool,
    "CONCATENATION": concatenation,
    "CONV_2D": conv2d,
    "DEPTHWISE_CONV_2D": depthwise_conv2d,
    "DEQUANTIZE": dequantize,
    "EXPAND_DIMS": reshape,
    "FULLY_CONNECTED": fully_connected,
    "LOGISTIC": unit,
    "MAX_POOL_2D": pool,
    "MEAN": mean,
    "PAD": pad,
    "QUANTIZE": rescale,
    "RELU": rescale,
    "RELU6": rescale,
    "RELU_N1_TO_1": rescale,
    "RESHAPE": reshape,
    "SOFTMAX": unit,
    "SQUEEZE": reshape,
}


def _requested(node: Node, entry: TensorType) -> Shape | None:
    """What a RESHAPE asks for, without the batch; `None` where only the output says it."""
    if node.optional(1) is not None:
        wanted = numbers(node, 1, "dimensions")
    elif node.operator.options is not None:
        wanted = list(node.operator.options.integers(0))
    else:
        return None
    if not wanted:
        return None
    node.require(min(wanted) >= -1 and 0 not in wanted, f"asks for shape {wanted}")
    node.require(wanted.count(-1) <= 1, f"asks for shape {wanted}, which leaves two sizes open")
    if -1 in wanted:
        known = math.prod(n for n in wanted if n > 0)
        wanted[wanted.index(-1)] = entry.size // max(known, 1)
    if len(wanted) > 1:
        text = f"asks for shape {wanted}; only one sample at a time is supported"
        node.require(wanted[0] == 1, text)
        wanted = wanted[1:]
    return tuple(wanted)


def _said(draft: Draft, node: Node) -> Shape:
    """The shape that the file gives to the output."""
    return file_shape(draft.file.tensors[node.output])
