"""What each operator of a `.tflite` file becomes in the intermediate representation.

One function for each kind: it reads the operator's options and constants, checks that they say
something that we compute with the same bits, and adds operations to the draft. Numbers of fields
are those of TensorFlow's `schema.fbs`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Table
from tesla_embed.ir.ops import (
    UNIT,
    Activation,
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Logistic,
    MaxPool2D,
    Mean,
    Pad,
    Rescale,
    Softmax,
    Window,
)
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.types import TensorType, Weights
from tesla_embed.tflite.draft import Draft, Node, Shape, file_shape

BIAS_TOLERANCE = 1e-4
"""How far a bias may be off the product of its scales: what rounding to float32 can do, amply."""
_ACTIVATIONS = {0: Activation.NONE, 1: Activation.RELU, 3: Activation.RELU6}
_OTHER_ACTIVATIONS = {2: "RELU_N1_TO_1", 4: "TANH", 5: "SIGN_BIT"}


def fully_connected(draft: Draft, node: Node) -> None:
    """The input is flattened; only one row of it may be there."""
    source = draft.source(node)
    data = _weights(node)
    node.require(data.ndim == 2, f"its weights have {data.ndim} dimensions, not 2")
    node.require(
        node.option(1, "b") == 0, "its weights are shuffled; only the plain order is known"
    )
    out, columns = data.shape
    size = draft.types[source].size
    node.require(
        size == columns,
        f"applies weights for {columns} inputs to {size}; only one vector at a time is supported",
    )
    flat = draft.reshaped(node, source, (columns,))
    kept = bool(node.option(2, "B"))
    shape = (*draft.types[source].shape[:-1], out) if kept else (out,)
    target = dataclasses.replace(draft.type(node, shape), shape=(out,), channels=out)
    scale, table = _scales(draft, node, flat, out, axis=0)
    op = FullyConnected(
        **draft.ends(node, flat),
        weights=Weights(data=data.copy(), scale=scale),
        activation=_activation(node, 0),
    )
    made = draft.add(op, target, table)
    draft.finish(node, draft.reshaped(node, made, shape))


def conv2d(draft: Draft, node: Node) -> None:
    """Weights `[out, height, width, in]`."""
    source, data = _image(draft, node), _weights(node)
    node.require(data.ndim == 4, f"its weights have {data.ndim} dimensions, not 4")
    channels = draft.types[source].channels
    text = f"its filters read {data.shape[-1]} of {channels} channels; groups are not supported"
    node.require(data.shape[-1] == channels, text)
    window = _window(draft, node, source, data.shape[1:3], dilations=(5, 4))
    scale, table = _scales(draft, node, source, len(data), axis=0)
    op = Conv2D(
        **draft.ends(node, source),
        weights=Weights(data=data.copy(), scale=scale),
        window=window,
        activation=_activation(node, 3),
    )
    shape = (*window.output_size(*draft.types[source].shape[:2]), len(data))
    draft.finish(node, draft.add(op, draft.type(node, shape), table))


def depthwise_conv2d(draft: Draft, node: Node) -> None:
    """Weights `[1, height, width, out]`."""
    source, data = _image(draft, node), _weights(node)
    node.require(data.ndim == 4 and len(data) == 1, f"its weights have shape {data.shape}")
    out, channels = data.shape[-1], draft.types[source].channels
    multiplier = node.option(3, "i")
    fits = multiplier * channels == out
    node.require(fits, f"has {out} filters for {channels} channels, not {multiplier} for each")
    window = _window(draft, node, source, data.shape[1:3], dilations=(6, 5))
    scale, table = _scales(draft, node, source, out, axis=3)
    op = DepthwiseConv2D(
        **draft.ends(node, source),
        weights=Weights(data=np.ascontiguousarray(data[0].transpose(2, 0, 1)), scale=scale),
        window=window,
        activation=_activation(node, 4),
    )
    shape = (*window.output_size(*draft.types[source].shape[:2]), out)
    draft.finish(node, draft.add(op, draft.type(node, shape), table))


def pool(draft: Draft, node: Node) -> None:
    """Maximum or average; a fused activation becomes an operation of its own."""
    source = _image(draft, node)
    size = (node.option(4, "i"), node.option(3, "i"))
    window = _window(draft, node, source, size)
    entry = draft.types[source]
    type_ = draft.type(node, (*window.output_size(*entry.shape[:2]), entry.channels))
    _same_quantization(node, entry, type_)
    kind = MaxPool2D if node.operator.kind == "MAX_POOL_2D" else AveragePool2D
    made = draft.add(kind(**draft.ends(node, source), window=window), type_)
    activation = _activation(node, 5)
    if activation is not Activation.NONE:
        clamp = Rescale(**draft.ends(node, made), activation=activation)
        made = draft.add(clamp, type_)
    draft.finish(node, made)


def add(draft: Draft, node: Node) -> None:
    """Two activations of one shape."""
    sources = [draft.source(node, position) for position in (0, 1)]
    shapes = [draft.types[source].shape for source in sources]
    node.require(shapes[0] == shapes[1], f"adds {shapes[0]} and {shapes[1]}; shapes must be equal")
    op = Add(**draft.ends(node, *sources), activation=_activation(node, 0))
    draft.finish(node, draft.add(op, draft.type(node, shapes[0])))


def mean(draft: Draft, node: Node) -> None:
    """Over the two dimensions of an image."""
    source = _image(draft, node)
    axes = _numbers(node, 1, "axes")
    text = f"averages over axes {sorted(axes)}; only height and width, 1 and 2, are supported"
    node.require(sorted(axis % 4 for axis in axes) == [1, 2], text)
    channels = draft.types[source].channels
    shape = (1, 1, channels) if node.option(0, "B") else (channels,)
    target = dataclasses.replace(draft.type(node, shape), shape=(1, 1, channels))
    made = draft.add(Mean(**draft.ends(node, source)), target)
    draft.finish(node, draft.reshaped(node, made, shape))


def concatenation(draft: Draft, node: Node) -> None:
    """Tensors of one quantisation, as LiteRT demands."""
    count = len(node.operator.inputs)
    node.require(count > 0, "has no inputs")
    sources = [draft.source(node, position) for position in range(count)]
    types = [draft.types[source] for source in sources]
    node.require(_activation(node, 1) is Activation.NONE, "has a fused activation")
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
        _same_quantization(node, type_, target)
    if count == 1:
        draft.finish(node, sources[0])
        return
    op = Concat(**draft.ends(node, *sources), axis=axis)
    draft.finish(node, draft.add(op, target))


def pad(draft: Draft, node: Node) -> None:
    """Zeros around an image."""
    source = _image(draft, node)
    amounts = _numbers(node, 1, "paddings")
    node.require(len(amounts) == 8, f"has {len(amounts)} paddings; 8 are supported")
    _, _, top, bottom, left, right, *channels = amounts
    inside = amounts[:2] == channels == [0, 0] and min(amounts) >= 0
    node.require(inside, f"pads by {amounts}; only height and width may be padded")
    height, width, depth = draft.types[source].shape
    target = draft.type(node, (height + top + bottom, width + left + right, depth))
    _same_quantization(node, draft.types[source], target)
    op = Pad(**draft.ends(node, source), top=top, bottom=bottom, left=left, right=right)
    draft.finish(node, draft.add(op, target))


def reshape(draft: Draft, node: Node) -> None:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: whatever the shape, the elements stay where they are."""
    source = draft.source(node)
    entry = draft.types[source]
    shape = _requested(node, entry) if node.operator.kind == "RESHAPE" else None
    if shape is None:
        shape = _said(draft, node)
    same = int(np.prod(shape, dtype=np.float64)) == entry.size
    node.require(same, f"turns shape {entry.shape} into {shape}, of another size")
    _same_quantization(node, entry, draft.type(node, shape))
    draft.finish(node, draft.reshaped(node, source, shape))


def rescale(draft: Draft, node: Node) -> None:
    """RELU, RELU6, and QUANTIZE from int8 to int8."""
    activations = {"RELU": Activation.RELU, "RELU6": Activation.RELU6}
    source = draft.source(node)
    op = Rescale(
        **draft.ends(node, source),
        activation=activations.get(node.operator.kind, Activation.NONE),
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
    node.require(target.quantization == UNIT, text)
    kind = Softmax if softmax else Logistic
    draft.finish(node, draft.add(kind(**draft.ends(node, source)), target))


def dequantize(_draft: Draft, node: Node) -> None:
    """Only an output may become real numbers again; that is dealt with before."""
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
    "RESHAPE": reshape,
    "SOFTMAX": unit,
    "SQUEEZE": reshape,
}


def _image(draft: Draft, node: Node) -> int:
    source = draft.source(node)
    shape = draft.types[source].shape
    node.require(len(shape) == 3, f"reads shape {shape}; only images are supported")
    return source


def _activation(node: Node, field: int) -> Activation:
    number = node.option(field, "b")
    if number not in _ACTIVATIONS:
        name = _OTHER_ACTIVATIONS.get(number, f"number {number}")
        node.refuse(f"has the fused activation {name}; supported are NONE, RELU and RELU6")
    return _ACTIVATIONS[number]


def _weights(node: Node) -> npt.NDArray[np.int8]:
    data = node.constant(1, "int8", "weights")
    node.require(data.size > 0, "has no weights")
    return data.astype(np.int8, copy=False)


def _scales(
    draft: Draft, node: Node, source: int, out: int, axis: int
) -> tuple[npt.NDArray[np.float64], Table]:
    """A scale for each of `out` filters, and the table; `axis` of the weights counts them."""
    tensor = node.file.tensors[node.input(1)]
    count = len(tensor.scale)
    node.require(count in (1, out), f"has {count} weight scales for {out} filters")
    node.require(count == 1 or tensor.axis == axis, f"has weight scales along axis {tensor.axis}")
    node.require(not np.any(tensor.zero_point), "its weights have a zero point other than 0")
    scale = np.broadcast_to(tensor.scale.astype(np.float64), (out,)).copy()
    with np.errstate(invalid="ignore"):
        positive = bool(np.all(np.isfinite(scale) & (scale > 0)))
    node.require(positive, "its weight scales are not positive")
    product = quantization(draft.types[source]).scale * scale
    bias = _bias(node, out, product)
    return scale, Table(bias=bias, weight_scale=scale.copy())


def _bias(node: Node, out: int, product: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Biases in units of input scale times weight scale, zeros where the file has none."""
    number = node.optional(2)
    if number is None:
        return np.zeros(out, np.int32)
    values = node.constant(2, "int32", "biases")
    node.require(values.shape == (out,), f"has biases of shape {values.shape} for {out} filters")
    tensor = node.file.tensors[number]
    node.require(not np.any(tensor.zero_point), "its biases have a zero point other than 0")
    if len(tensor.scale):
        fits = len(tensor.scale) in (1, out)
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.abs(tensor.scale.astype(np.float64) - product) if fits else np.inf
            fits = bool(np.all(off <= BIAS_TOLERANCE * product))
        text = "the scale of its biases is not that of its input times that of its weights"
        node.require(fits, text)
    return values.astype(np.int32)


def _window(
    draft: Draft,
    node: Node,
    source: int,
    size: Shape,
    dilations: tuple[int, int] | None = None,
) -> Window:
    """The window of a convolution or pool, padded as TensorFlow pads.

    `size` is height and width, `dilations` the fields of the vertical and horizontal one.
    """
    strides = (node.option(2, "i"), node.option(1, "i"))
    apart = (1, 1)
    if dilations is not None:
        apart = (node.option(dilations[0], "i", 1), node.option(dilations[1], "i", 1))
    numbers = (*size, *strides, *apart)
    node.require(all(1 <= n <= 255 for n in numbers), f"its window has {numbers}; 1 to 255 fit")
    padding = node.option(0, "b")
    node.require(padding in (0, 1), f"has padding number {padding}; known are SAME and VALID")
    height, width, _ = draft.types[source].shape
    pads = ((0, 0), (0, 0))
    if padding == 0:
        vertical = _same(height, (size[0] - 1) * apart[0] + 1, strides[0])
        pads = (vertical, _same(width, (size[1] - 1) * apart[1] + 1, strides[1]))
    window = Window(
        height=size[0],
        width=size[1],
        stride_height=strides[0],
        stride_width=strides[1],
        dilation_height=apart[0],
        dilation_width=apart[1],
        pad_top=pads[0][0],
        pad_bottom=pads[0][1],
        pad_left=pads[1][0],
        pad_right=pads[1][1],
    )
    fits = min(window.output_size(height, width)) >= 1
    node.require(fits, f"its window is larger than the image, {height} by {width}")
    return window


def _same(length: int, reach: int, stride: int) -> tuple[int, int]:
    """Padding before and after an axis that TensorFlow calls 'same': the odd one comes after."""
    total = max((-(-length // stride) - 1) * stride + reach - length, 0)
    return total // 2, total - total // 2


def _same_quantization(node: Node, source: TensorType, target: TensorType) -> None:
    same = source.quantization == target.quantization
    node.require(same, "changes the quantisation, which this operation cannot")


def _numbers(node: Node, position: int, what: str) -> list[int]:
    """A short constant vector of int32."""
    values = node.constant(position, "int32", what).reshape(-1)
    node.require(1 <= values.size <= 16, f"has {values.size} {what}")
    return [int(value) for value in values]


def _requested(node: Node, entry: TensorType) -> Shape | None:
    """What a RESHAPE asks for, without the batch; `None` where only the output says it."""
    if node.optional(1) is not None:
        wanted = _numbers(node, 1, "dimensions")
    elif node.operator.options is not None:
        wanted = list(node.operator.options.integers(0))
    else:
        return None
    if not wanted:
        return None
    node.require(min(wanted) >= -1 and 0 not in wanted, f"asks for shape {wanted}")
    node.require(wanted.count(-1) <= 1, f"asks for shape {wanted}, which leaves two sizes open")
    if -1 in wanted:
        known = int(np.prod([n for n in wanted if n > 0], dtype=np.float64))
        wanted[wanted.index(-1)] = entry.size // max(known, 1)
    if len(wanted) > 1:
        text = f"asks for shape {wanted}; only one sample at a time is supported"
        node.require(wanted[0] == 1, text)
        wanted = wanted[1:]
    return tuple(wanted)


def _said(draft: Draft, node: Node) -> Shape:
    """The shape that the file gives to the output."""
    return file_shape(draft.file.tensors[node.output])
