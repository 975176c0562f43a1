"""Layers with weights: convolutions, linear layers, and the batch norm and activation after them.

Batch norm is folded in float64. Alone, of an image, it is a depthwise convolution of one tap.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Table
from tesla_embed.ir.ops import Activation, Conv2D, DepthwiseConv2D, FullyConnected, Pad, Window
from tesla_embed.ir.types import Weights
from tesla_embed.nn.aten.draft import Draft, Node, Value, kind_of

Floats = npt.NDArray[np.float64]
NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")
CLAMPS = ("relu", "relu6", "hardtanh", "clamp", "clamp_min")


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y = factor · x + shift for each channel."""

    factor: Floats
    shift: Floats


def activation_of(node: Node) -> Activation:
    """What a clamp computes. Refuses other bounds than those that there is an activation for."""
    if node.kind in ("relu", "relu6"):
        return Activation.RELU if node.kind == "relu" else Activation.RELU6
    usual = (-1.0, 1.0) if node.kind == "hardtanh" else (None, None)
    names = ("min_val", "max_val") if node.kind == "hardtanh" else ("min", "max")
    low, high = (node.argument(i + 1, names[i], usual[i]) for i in (0, 1))
    known = {
        (0, None): Activation.RELU,
        (0, 6): Activation.RELU6,
        (-1, 1): Activation.RELU_N1_TO_1,
    }
    if (low, high) not in known:
        node.refuse(f"clamps to {low} … {high}; only 0 …, 0 … 6 and -1 … 1 are supported")
    return known[low, high]


def norm_of(draft: Draft, node: Node) -> Affine:
    """What batch norm computes with its running statistics."""
    if node.kind == "batch_norm" and node.argument(5, "training"):
        node.refuse("is in training mode; call .eval() before exporting")
    epsilon = float(node.argument(7 if node.kind == "batch_norm" else 6, "eps", 1e-5))
    weight, bias, mean, variance = (
        draft.constant(node, place, name)
        for place, name in enumerate(("weight", "bias", "running_mean", "running_var"), 1)
    )
    if mean is None or variance is None:
        node.refuse("keeps no running statistics; set track_running_stats=True")
    node.require(bool((variance + epsilon > 0).all()), "has a variance that is not positive")
    factor = (1.0 if weight is None else weight) / np.sqrt(variance + epsilon)
    return Affine(factor, (0.0 if bias is None else bias) - mean * factor)


def followers(draft: Draft, node: Node, *, norms: bool = True) -> tuple[Affine | None, Activation]:
    """Batch norm and activation that alone read a layer; they are `absorbed` by it."""
    affine, activation, last = None, Activation.NONE, node.node
    while len(last.users) == 1:
        (reader,) = last.users
        step = Node(reader, node.index, kind_of(reader))
        if step.kind in NORMS and affine is None and norms:
            affine = norm_of(draft, step)
        elif step.kind == "getitem" and kind_of(last) in NORMS and reader.args[1] == 0:
            pass
        elif step.kind in CLAMPS and reader.args[0] is last:
            activation = activation_of(step)
            draft.absorbed[reader] = node.node
            break
        else:
            break
        draft.absorbed[reader] = node.node
        last = reader
    return affine, activation


def convolution(draft: Draft, node: Node) -> Value:
    """Along one or two dimensions, plain or depthwise, with whatever padding."""
    source = draft.image(node, draft.value(node))
    weight, bias = draft.constant(node, 1, "weight"), draft.constant(node, 2, "bias")
    assert weight is not None
    dims, depth = weight.ndim - 2, draft.types[source].channels
    if node.kind == "convolution":
        node.require(not node.argument(6, "transposed"), "is transposed")
    groups = int(node.argument(8 if node.kind == "convolution" else 6, "groups", 1))
    text = f"has {groups} groups of {depth} channels; only 1 or one for each channel is supported"
    node.require(groups == 1 or (groups == depth and weight.shape[1] == 1), text)
    window = _window(node, weight, dims)
    source, window = _padded(draft, node, source, window)
    affine, activation = followers(draft, node)
    if dims == 1:
        weight = weight[:, :, None]
    weight, bias = _folded(weight, bias, affine)
    size = window.output_size(*draft.types[source].shape[:2])
    node.require(min(size) >= 1, "has a window that is larger than the image")
    depthwise = groups == depth and groups > 1
    data = weight[:, 0] if depthwise else weight.transpose(0, 2, 3, 1)
    kind = DepthwiseConv2D if depthwise else Conv2D
    op = kind(
        **draft.ends(node, source),
        weights=Weights(data=_single(node, data)),
        window=window,
        activation=activation,
    )
    table = Table(bias=_single(node, bias))
    return draft.made_image(node, draft.add(op, (*size, len(weight)), table))


def linear(draft: Draft, node: Node) -> Value:
    """`linear`, or `addmm` and `mm` with the weights transposed before."""
    bias = None
    if node.kind == "linear":
        value = draft.value(node)
        weight, bias = draft.constant(node, 1, "weight"), draft.constant(node, 2, "bias")
    else:
        first = 1 if node.kind == "addmm" else 0
        value = draft.value(node, first)
        turned = draft.constant(node, first + 1, "weight")
        weight = None if turned is None else turned.T
        bias = draft.constant(node, 0, "bias") if first else None
        plain = all(node.argument(9, name, 1) == 1 for name in ("alpha", "beta"))
        node.require(plain, "has factors alpha or beta")
    text = f"works on shape {value.places.shape}; only vectors are supported: flatten before"
    node.require(value.places.ndim == 1 and weight is not None, text)
    assert weight is not None
    source = draft.vector(node, value)
    affine, activation = followers(draft, node)
    weight, bias = _folded(weight, bias, affine)
    columns = np.empty_like(weight)
    columns[:, value.places] = weight  # where PyTorch's elements are
    op = FullyConnected(
        **draft.ends(node, source),
        weights=Weights(data=_single(node, columns)),
        activation=activation,
    )
    made = draft.add(op, (len(weight),), Table(bias=_single(node, bias)))
    return Value(made, np.arange(len(weight)))


def batch_norm(draft: Draft, node: Node) -> Value:
    """Of an image, after no layer that takes it in."""
    value = draft.value(node)
    text = "of vectors must directly follow a linear layer that nothing else reads"
    node.require(value.is_image, text)
    source = draft.image(node, value)
    affine = norm_of(draft, node)
    _, activation = followers(draft, node, norms=False)
    op = DepthwiseConv2D(
        **draft.ends(node, source),
        weights=Weights(data=_single(node, affine.factor.reshape(-1, 1, 1))),
        window=Window(height=1, width=1),
        activation=activation,
    )
    table = Table(bias=_single(node, affine.shift))
    return draft.made_image(node, draft.add(op, draft.types[source].shape, table))


def padded(draft: Draft, node: Node, source: int, sides: tuple[int, int, int, int]) -> int:
    """Zeros around an image: top, bottom, left, right."""
    top, bottom, left, right = sides
    height, width, channels = draft.types[source].shape
    op = Pad(**draft.ends(node, source), top=top, bottom=bottom, left=left, right=right)
    return draft.add(op, (height + top + bottom, width + left + right, channels))


def _window(node: Node, weight: Floats, dims: int) -> Window:
    size = weight.shape[2:]
    stride = node.numbers(3, "stride", dims, 1)
    dilation = node.numbers(5, "dilation", dims, 1)
    padding = node.argument(4, "padding", 0)
    if isinstance(padding, str):
        total = [(n - 1) * apart for n, apart in zip(size, dilation, strict=True)]
        same = padding == "same"
        before = tuple(n // 2 if same else 0 for n in total)
        after = tuple(-(-n // 2) if same else 0 for n in total)
    else:
        before = after = node.numbers(4, "padding", dims, 0)
    return image_window(size, stride, before, after, dilation)


def image_window(
    size: tuple[int, ...],
    stride: tuple[int, ...],
    before: tuple[int, ...],
    after: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Window:
    """A window over an image; what works along one dimension works in its one row."""
    if len(size) == 1:
        size, stride, dilation = (1, *size), (1, *stride), (1, *dilation)
        before, after = (0, *before), (0, *after)
    return Window(
        height=size[0], width=size[1], stride_height=stride[0], stride_width=stride[1],
        dilation_height=dilation[0], dilation_width=dilation[1], pad_top=before[0],
        pad_bottom=after[0], pad_left=before[1], pad_right=after[1],
    )  # fmt: skip


def _padded(draft: Draft, node: Node, source: int, window: Window) -> tuple[int, Window]:
    """Pad by an operation of its own where a window would lie in the padding alone."""
    high, wide = window.reach
    sides = (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right)
    if max(sides[:2]) < high and max(sides[2:]) < wide:
        return source, window
    bare = image_window(
        (window.height, window.width), (window.stride_height, window.stride_width), (0, 0), (0, 0),
        (window.dilation_height, window.dilation_width),
    )  # fmt: skip
    return padded(draft, node, source, sides), bare


def _folded(weight: Floats, bias: Floats | None, affine: Affine | None) -> tuple[Floats, Floats]:
    own = np.zeros(len(weight)) if bias is None else bias
    if affine is None:
        return weight, own
    rows = affine.factor.reshape(-1, *[1] * (weight.ndim - 1))
    return weight * rows, own * affine.factor + affine.shift


def _single(node: Node, values: Floats) -> npt.NDArray[np.float32]:
    largest = np.finfo(np.float32).max
    node.require(bool((np.abs(values) <= largest).all()), "has weights beyond float32, once folded")
    return np.ascontiguousarray(values, dtype=np.float32)
