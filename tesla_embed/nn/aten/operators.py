"""What each operation of an exported program becomes in the intermediate representation.

Both forms are read: as `torch.export` writes them (`conv2d`, `batch_norm`) and after
`run_decompositions` (`convolution`, `addmm`). Layers with weights are in `weighted`.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import fx

from tesla_embed.ir.ops import (
    Add,
    AveragePool2D,
    Concat,
    Logistic,
    MaxPool2D,
    Mean,
    Rescale,
    Softmax,
)
from tesla_embed.nn.aten.draft import Draft, Node, Value
from tesla_embed.nn.aten.weighted import (
    CLAMPS,
    activation_of,
    batch_norm,
    convolution,
    followers,
    image_window,
    linear,
    padded,
)


def add(draft: Draft, node: Node) -> Value:
    """Two activations of one shape."""
    first, second = draft.value(node), draft.activation(node, node.argument(1, "other"))
    node.require(node.argument(2, "alpha", 1) == 1, "has a factor alpha")
    shapes = first.places.shape, second.places.shape
    node.require(shapes[0] == shapes[1], f"adds {shapes[0]} and {shapes[1]}; they must be equal")
    alike = np.array_equal(first.places, second.places)
    node.require(alike, "adds elements that lie in another order on its other side")
    shape = draft.types[first.index].shape
    other = draft.reshaped(node, second.index, shape)
    _, activation = followers(draft, node, norms=False)
    op = Add(**draft.ends(node, first.index, other), activation=activation)
    return Value(draft.add(op, shape), first.places)


def cat(draft: Draft, node: Node) -> Value:
    """Images along any dimension but the batch, or vectors."""
    sources = node.argument(0, "tensors")
    values = [draft.activation(node, source) for source in sources]
    rank = values[0].places.ndim + 1
    dim = int(node.argument(1, "dim", 0)) % rank
    node.require(dim > 0, "joins along the batch; only one sample at a time is supported")
    if len(values) == 1:
        return values[0]
    if rank == 2:
        indices = [draft.vector(node, value) for value in values]
        sizes = [draft.types[index].size for index in indices]
        starts = np.cumsum([0, *sizes[:-1]])
        op = Concat(**draft.ends(node, *indices), axis=0)
        places = [value.places + start for value, start in zip(values, starts, strict=True)]
        return Value(draft.add(op, (sum(sizes),)), np.concatenate(places))
    indices = [draft.image(node, value) for value in values]
    axis = 2 if dim == 1 else dim - 4 + 2 + (4 - rank)  # height 0, width 1
    shapes = [draft.types[index].shape for index in indices]
    length = sum(shape[axis] for shape in shapes)
    op = Concat(**draft.ends(node, *indices), axis=axis)
    shape = (*shapes[0][:axis], length, *shapes[0][axis + 1 :])
    return draft.made_image(node, draft.add(op, shape))


def clamp(draft: Draft, node: Node) -> Value:
    """ReLU and ReLU6 that no layer takes in."""
    value = draft.value(node)
    op = Rescale(**draft.ends(node, value.index), activation=activation_of(node))
    return Value(draft.add(op, draft.types[value.index].shape), value.places)


def sigmoid(draft: Draft, node: Node) -> Value:
    """Of every element."""
    value = draft.value(node)
    op = Logistic(**draft.ends(node, value.index))
    return Value(draft.add(op, draft.types[value.index].shape), value.places)


def softmax(draft: Draft, node: Node) -> Value:
    """Over a vector, or over the channels of every pixel."""
    value = draft.value(node)
    dim = int(node.argument(1, "dim")) % (value.places.ndim + 1)
    node.require(dim == 1, f"works along dimension {dim}; only channels, 1, are supported")
    vector = value.places.ndim == 1
    source = draft.vector(node, value) if vector else draft.image(node, value)
    made = draft.add(Softmax(**draft.ends(node, source)), draft.types[source].shape)
    return Value(made, value.places) if vector else draft.made_image(node, made)


def mean(draft: Draft, node: Node) -> Value:
    """Over all of space, the dimensions kept or not."""
    value = draft.value(node)
    rank = value.places.ndim + 1
    dims = node.argument(1, "dim")
    wanted = [dims] if isinstance(dims, int) else list(dims or ())
    whole = rank > 2 and sorted(dim % rank for dim in wanted) == list(range(2, rank))
    node.require(whole, f"averages over dimensions {wanted}; only all of space is supported")
    return _mean(draft, node, value)


def adaptive_average(draft: Draft, node: Node) -> Value:
    """To one pixel, or to a size that divides the image."""
    value = draft.value(node)
    dims = value.places.ndim - 1
    size = node.numbers(1, "output_size", dims, 1)
    if set(size) == {1}:
        return _mean(draft, node, value)
    space = value.places.shape[1:]
    divides = all(n % wanted == 0 for n, wanted in zip(space, size, strict=True))
    node.require(divides, f"adapts {space} to {size}, which does not divide it")
    kernel = tuple(n // wanted for n, wanted in zip(space, size, strict=True))
    zero = (0,) * dims
    window = image_window(kernel, kernel, zero, zero, (1,) * dims)
    source = draft.image(node, value)
    op = AveragePool2D(**draft.ends(node, source), window=window)
    inside = window.output_size(*draft.types[source].shape[:2])
    return draft.made_image(node, draft.add(op, (*inside, value.places.shape[0])))


def pool(draft: Draft, node: Node) -> Value:
    """Maximum or average over windows."""
    value, average = draft.value(node), node.kind.startswith("avg")
    source, dims = draft.image(node, value), value.places.ndim - 1
    kernel = node.numbers(1, "kernel_size", dims, 1)
    stride = node.numbers(2, "stride", dims, 0)
    stride = kernel if 0 in stride else stride
    padding = node.numbers(3, "padding", dims, 0)
    if average:
        node.require(node.argument(6, "divisor_override") is None, "has a divisor of its own")
    else:
        plain = set(node.numbers(4, "dilation", dims, 1)) == {1}
        node.require(plain, "has a dilated window")
    window = image_window(kernel, stride, padding, padding, (1,) * dims)
    if average and any(padding) and node.argument(5, "count_include_pad", True):
        sides = (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right)
        source = padded(draft, node, source, sides)  # the zeros count, like those of an image
        zero = (0,) * dims
        window = image_window(kernel, stride, zero, zero, (1,) * dims)
    size = window.output_size(*draft.types[source].shape[:2])
    said = node.shape[1:] if dims == 2 else (1, *node.shape[1:])
    node.require(size == said, f"makes {said} pixels by ceil_mode; only {size} is supported")
    op = (AveragePool2D if average else MaxPool2D)(**draft.ends(node, source), window=window)
    return draft.made_image(node, draft.add(op, (*size, value.places.shape[0])))


def pad(draft: Draft, node: Node) -> Value:
    """Zeros around an image or a sequence."""
    value = draft.value(node)
    amounts = list(node.argument(1, "pad"))
    mode = node.argument(2, "mode", "constant") if node.kind == "pad" else "constant"
    filled = node.argument(3 if node.kind == "pad" else 2, "value", 0)
    zeros = mode == "constant" and filled in (0, None)
    node.require(zeros, f"pads with {filled if mode == 'constant' else mode}, not with zeros")
    if not all(type(n) is int for n in amounts) or min(amounts, default=0) < 0:
        node.refuse(f"pads by {amounts}; only whole numbers from 0 are supported")
    source, dims = draft.image(node, value), value.places.ndim - 1
    node.require(not any(amounts[2 * dims :]), f"pads by {amounts}; only space may be padded")
    left, right, top, bottom = (amounts[: 2 * dims] + [0] * 4)[:4]
    return draft.made_image(node, padded(draft, node, source, (top, bottom, left, right)))


def dropout(draft: Draft, node: Node) -> Value:
    """Nothing, in evaluation mode."""
    node.require(not node.argument(2, "train", False), "is active; call .eval() before exporting")
    return draft.value(node)


def item(draft: Draft, node: Node) -> Value:
    """The first result of an operation that has several."""
    node.require(node.argument(1, "index") == 0, "reads a second result, which there is not")
    return draft.value(node)


def rearranged(draft: Draft, node: Node) -> Value:
    """Elements stay where they are; PyTorch's own function says which is which."""
    value = draft.value(node)
    if any(isinstance(given, fx.Node) for given in _flat(node.node.args[1:])):
        node.refuse("rearranges by a computed size; write it as a number")
    batch = int(node.node.all_input_nodes[0].meta["val"].shape[0])
    size = value.places.size
    places = torch.arange(batch)[:, None] * size + torch.from_numpy(value.places.reshape(-1))
    places = places.reshape(batch, *value.places.shape)
    target = node.node.target
    assert callable(target)
    result = target(places, *node.node.args[1:], **node.node.kwargs)
    first = result[0].reshape(-1).numpy() if result.ndim else np.zeros(0, np.intp)
    same = result.shape[:1] == (batch,) and np.array_equal(np.sort(first), np.arange(size))
    node.require(same, "mixes samples; the batch must stay the first dimension")
    node.require(1 <= result.ndim - 1 <= 3, f"makes shape {tuple(result.shape)}")
    return Value(value.index, result[0].numpy())


def _flat(found: object) -> list[object]:
    if isinstance(found, tuple | list):
        return [inner for part in found for inner in _flat(part)]
    return [found]


def _mean(draft: Draft, node: Node, value: Value) -> Value:
    source = draft.image(node, value)
    channels = draft.types[source].channels
    made = draft.add(Mean(**draft.ends(node, source)), (1, 1, channels))
    return Value(made, np.arange(channels).reshape(node.shape))


REARRANGING = (
    "_unsafe_view", "alias", "clone", "contiguous", "detach", "flatten", "movedim", "permute",
    "reshape", "squeeze", "t", "transpose", "unflatten", "unsqueeze", "view",
)  # fmt: skip
CONVERTERS: dict[str, Callable[[Draft, Node], Value]] = {
    "add": add,
    **dict.fromkeys(("cat", "concat", "concatenate"), cat),
    **dict.fromkeys(CLAMPS, clamp),
    "sigmoid": sigmoid,
    **dict.fromkeys(("softmax", "_softmax"), softmax),
    "mean": mean,
    **dict.fromkeys(
        ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d"), adaptive_average
    ),
    **dict.fromkeys(
        ("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "avg_pool1d", "avg_pool2d"), pool
    ),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **dict.fromkeys(("dropout", "feature_dropout"), dropout),
    **dict.fromkeys(("conv1d", "conv2d", "convolution"), convolution),
    **dict.fromkeys(("linear", "addmm", "mm"), linear),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), batch_norm),
    **dict.fromkeys(REARRANGING, rearranged),
    "getitem": item,
}
