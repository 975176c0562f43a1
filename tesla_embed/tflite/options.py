"""What several operators of a `.tflite` file say in the same way: windows, activations, numbers.

Every function refuses, with `UnsupportedOp` that names the operator, what cannot be computed with
the same bits.
"""

from tesla_embed.ir.ops import Activation, Window
from tesla_embed.ir.types import TensorType
from tesla_embed.tflite.draft import Draft, Node, Shape

_ACTIVATIONS = {
    0: Activation.NONE,
    1: Activation.RELU,
    2: Activation.RELU_N1_TO_1,
    3: Activation.RELU6,
}
_OTHER_ACTIVATIONS = {4: "TANH", 5: "SIGN_BIT"}


def image(draft: Draft, node: Node) -> int:
    """The activation that a node reads, which must be an image."""
    source = draft.source(node)
    shape = draft.types[source].shape
    node.require(len(shape) == 3, f"reads shape {shape}; only images are supported")
    return source


def fused_activation(node: Node, field: int) -> Activation:
    """The activation in a field of the options."""
    number = node.option(field, "b")
    if number not in _ACTIVATIONS:
        name = _OTHER_ACTIVATIONS.get(number, f"number {number}")
        known = ", ".join(activation.name for activation in _ACTIVATIONS.values())
        node.refuse(f"has the fused activation {name}; supported are {known}")
    return _ACTIVATIONS[number]


def window(
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
        vertical = same_padding(height, (size[0] - 1) * apart[0] + 1, strides[0])
        pads = (vertical, same_padding(width, (size[1] - 1) * apart[1] + 1, strides[1]))
    found = Window(
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
    fits = min(found.output_size(height, width)) >= 1
    node.require(fits, f"its window is larger than the image, {height} by {width}")
    return found


def same_padding(length: int, reach: int, stride: int) -> tuple[int, int]:
    """Padding before and after an axis that TensorFlow calls 'same': the odd one comes after."""
    total = max((-(-length // stride) - 1) * stride + reach - length, 0)
    return total // 2, total - total // 2


def same_quantization(node: Node, source: TensorType, target: TensorType) -> None:
    """Refuse an operator that moves values and changes what they stand for."""
    same = source.quantization == target.quantization
    node.require(same, "changes the quantisation, which this operation cannot")


def numbers(node: Node, position: int, what: str, dtypes: str = "int32") -> list[int]:
    """A short constant vector of integers."""
    values = node.constant(position, dtypes, what).reshape(-1)
    node.require(1 <= values.size <= 16, f"has {values.size} {what}")
    return [int(value) for value in values]
