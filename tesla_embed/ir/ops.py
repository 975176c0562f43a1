"""The operations of the intermediate representation, one frozen class each.

Every class says what its attributes mean. Whoever treats operations one by one ends its `match`
in `assert_never`, so that the type checker names each place a new operation must be added to.
`docs/adding-an-operation.md` lists the steps.
"""

import enum
from dataclasses import dataclass

from tesla_embed.ir.types import Quantization, Weights

UNIT = Quantization(scale=1 / 256, zero_point=-128)
"""How values from 0 to 1 are quantised, always."""


class Activation(enum.StrEnum):
    """Activation fused into an operation; in integers it is a clamp.

    Both ends of it: from 0, from 0 to 6, and from -1 to 1.
    """

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"
    RELU_N1_TO_1 = "relu_n1_to_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A sliding window over an image: taps, strides, dilation and zero padding in pixels.

    `height` and `width` count taps; with dilation d they are d pixels apart.
    """

    height: int
    width: int
    stride_height: int = 1
    stride_width: int = 1
    dilation_height: int = 1
    dilation_width: int = 1
    pad_top: int = 0
    pad_bottom: int = 0
    pad_left: int = 0
    pad_right: int = 0

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the first tap to the last, both included."""
        return (
            (self.height - 1) * self.dilation_height + 1,
            (self.width - 1) * self.dilation_width + 1,
        )

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that come out of an image of `height` by `width` pixels."""
        high, wide = self.reach
        rows = (height + self.pad_top + self.pad_bottom - high) // self.stride_height + 1
        columns = (width + self.pad_left + self.pad_right - wide) // self.stride_width + 1
        return rows, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class OpBase:
    """What all operations share: a unique name, input tensors and one output tensor (indices)."""

    name: str
    inputs: tuple[int, ...]
    output: int

    @property
    def input(self) -> int:
        """The first input; only additions and concatenations have more."""
        return self.inputs[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FullyConnected(OpBase):
    """`y = activation(W x + b)`; weights `[out, in]`, the input `(in,)`, the output `(out,)`."""

    weights: Weights
    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2D(OpBase):
    """Cross-correlation; weights `[out, height, width, in]`, images `(height, width, channels)`."""

    weights: Weights
    window: Window
    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseConv2D(OpBase):
    """Every channel filtered on its own; weights `[out, height, width]`.

    With `out = multiplier * in`, input channel `c` makes the outputs `c * multiplier` and up.
    """

    weights: Weights
    window: Window
    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool2D(OpBase):
    """Largest value in each window; padding never wins. Quantisation passes through."""

    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool2D(OpBase):
    """Mean over the part of each window that lies inside the image; halves round away from zero.

    Quantisation passes through.
    """

    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(OpBase):
    """The same elements in the same order under another shape; costs nothing at run time.

    It may change what counts as a channel only where all channels are active in every region.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(OpBase):
    """Sum of two tensors of one shape, of which the same channels are active."""

    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(OpBase):
    """Two or more tensors one after the other along `axis` of their shape.

    Along the last axis their channels follow each other, and each keeps its own leading part in a
    region. Along another axis the same channels must be active in all of them. Inputs are
    rescaled to the quantisation of the output.
    """

    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad(OpBase):
    """Zeros around an image, in pixels. Quantisation passes through."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(OpBase):
    """Mean over all pixels of an image, `(1, 1, channels)`, in a quantisation of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescale(OpBase):
    """The same values in another quantisation, clamped: an activation that stands alone."""

    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(OpBase):
    """`exp(x) / sum(exp(x))` along the last axis; the output is quantised as `UNIT`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic(OpBase):
    """`1 / (1 + exp(-x))`; the output is quantised as `UNIT`."""


Op = (
    FullyConnected
    | Conv2D
    | DepthwiseConv2D
    | MaxPool2D
    | AveragePool2D
    | Mean
    | Add
    | Concat
    | Pad
    | Reshape
    | Rescale
    | Softmax
    | Logistic
)
Weighted = FullyConnected | Conv2D | DepthwiseConv2D
"""Operations that carry weights, and a `Table` in every region."""
Passing = MaxPool2D | AveragePool2D | Pad | Reshape
"""Operations through which the quantisation of their input passes unchanged."""
Unit = Softmax | Logistic
"""Operations whose output is quantised as `UNIT`."""
