"""What the operators with weights of a `.tflite` file become: weights, scales and biases.

The weights are taken as they are; only those of depthwise convolutions are arranged otherwise.
Numbers of fields are those of TensorFlow's `schema.fbs`.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Table
from tesla_embed.ir.ops import Conv2D, DepthwiseConv2D, FullyConnected
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.types import Weights
from tesla_embed.ir.verify import MAX_DIMENSION
from tesla_embed.tflite.draft import Draft, Node
from tesla_embed.tflite.options import fused_activation, image, window
from tesla_embed.tflite.schema import FileTensor

BIAS_TOLERANCE = 1e-4
"""How far a bias may be off the product of its scales: what rounding to float32 can do, amply."""


def fully_connected(draft: Draft, node: Node) -> None:
    """The input is flattened; only one row of it may be there."""
    source = draft.source(node)
    data = _weights(draft, node)
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
        activation=fused_activation(node, 0),
    )
    made = draft.add(op, target, table)
    draft.finish(node, draft.reshaped(node, made, shape))


def conv2d(draft: Draft, node: Node) -> None:
    """Weights `[out, height, width, in]`."""
    source, data = image(draft, node), _weights(draft, node)
    node.require(data.ndim == 4, f"its weights have {data.ndim} dimensions, not 4")
    channels = draft.types[source].channels
    text = f"its filters read {data.shape[-1]} of {channels} channels; groups are not supported"
    node.require(data.shape[-1] == channels, text)
    view = window(draft, node, source, data.shape[1:3], dilations=(5, 4))
    scale, table = _scales(draft, node, source, len(data), axis=0)
    op = Conv2D(
        **draft.ends(node, source),
        weights=Weights(data=data.copy(), scale=scale),
        window=view,
        activation=fused_activation(node, 3),
    )
    shape = (*view.output_size(*draft.types[source].shape[:2]), len(data))
    draft.finish(node, draft.add(op, draft.type(node, shape), table))


def depthwise_conv2d(draft: Draft, node: Node) -> None:
    """Weights `[1, height, width, out]`."""
    source, data = image(draft, node), _weights(draft, node)
    node.require(data.ndim == 4 and len(data) == 1, f"its weights have shape {data.shape}")
    out, channels = data.shape[-1], draft.types[source].channels
    multiplier = node.option(3, "i")
    fits = multiplier * channels == out
    node.require(fits, f"has {out} filters for {channels} channels, not {multiplier} for each")
    view = window(draft, node, source, data.shape[1:3], dilations=(6, 5))
    scale, table = _scales(draft, node, source, out, axis=3)
    op = DepthwiseConv2D(
        **draft.ends(node, source),
        weights=Weights(data=np.ascontiguousarray(data[0].transpose(2, 0, 1)), scale=scale),
        window=view,
        activation=fused_activation(node, 4),
    )
    shape = (*view.output_size(*draft.types[source].shape[:2]), out)
    draft.finish(node, draft.add(op, draft.type(node, shape), table))


def _weights(draft: Draft, node: Node) -> npt.NDArray[np.generic]:
    """As they are in the file, of int8, or of float32 where all the network is."""
    data = node.constant(1, "float32" if draft.floats else "int8", "weights")
    node.require(data.size > 0, "has no weights")
    longest = max(data.shape, default=0)
    node.require(longest <= MAX_DIMENSION, f"its weights have shape {data.shape}")
    return data.astype(np.float32 if draft.floats else np.int8, copy=False)


def _scales(
    draft: Draft, node: Node, source: int, out: int, axis: int
) -> tuple[npt.NDArray[np.float64] | None, Table]:
    """A scale for each of `out` filters, and the table; `axis` of the weights counts them."""
    if draft.floats:
        return None, Table(bias=_float_bias(node, out))
    tensor = node.file.tensors[node.input(1)]
    count = len(tensor.scale)
    node.require(count in (1, out), f"has {count} weight scales for {out} filters")
    node.require(count == 1 or tensor.axis == axis, f"has weight scales along axis {tensor.axis}")
    _check_zero_points(node, tensor, out, "weights")
    with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is only converted
        scale = np.broadcast_to(tensor.scale.astype(np.float64), (out,)).copy()
        positive = bool(np.all(np.isfinite(scale) & (scale > 0)))
    node.require(positive, "its weight scales are not positive")
    product = quantization(draft.types[source]).scale * scale
    bias = _bias(node, out, product)
    return scale, Table(bias=bias, weight_scale=scale.copy())


def _float_bias(node: Node, out: int) -> npt.NDArray[np.float32]:
    if node.optional(2) is None:
        return np.zeros(out, np.float32)
    values = node.constant(2, "float32", "biases")
    node.require(values.shape == (out,), f"has biases of shape {values.shape} for {out} filters")
    return values.astype(np.float32)


def _bias(node: Node, out: int, product: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Biases in units of input scale times weight scale, zeros where the file has none."""
    number = node.optional(2)
    if number is None:
        return np.zeros(out, np.int32)
    values = node.constant(2, "int32", "biases")
    node.require(values.shape == (out,), f"has biases of shape {values.shape} for {out} filters")
    tensor = node.file.tensors[number]
    _check_zero_points(node, tensor, out, "biases")
    if len(tensor.scale):
        fits = len(tensor.scale) in (1, out)
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.abs(tensor.scale.astype(np.float64) - product) if fits else np.inf
            fits = bool(np.all(off <= BIAS_TOLERANCE * product))
        text = "the scale of its biases is not that of its input times that of its weights"
        node.require(fits, text)
    return values.astype(np.int32)


def _check_zero_points(node: Node, tensor: FileTensor, out: int, what: str) -> None:
    """All are 0. How many is looked at first: every operator may name one long vector."""
    count = len(tensor.zero_point)
    node.require(count in (0, 1, out), f"its {what} have {count} zero points for {out} filters")
    node.require(not np.any(tensor.zero_point), f"its {what} have a zero point other than 0")
