"""What every network of the zoo says about itself.

In: a configuration from a recipe, the shape of one example and the number of classes. Out: a plain
PyTorch module for examples as data sets have them, `[B, H, W, C]` or `[B, features]`, which
`make_scalable` then makes scalable. Refuses, with `ConfigError`, data that do not fit.
"""

import math
from collections import OrderedDict
from typing import Annotated, Literal

import msgspec
from torch import nn

from tesla_embed.errors import ConfigError
from tesla_embed.ir.verify import MAX_DIMENSION
from tesla_embed.ir.verify_shapes import MAX_WINDOW

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_DIMENSION)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=MAX_WINDOW)]
Factor = Annotated[float, msgspec.Meta(gt=0, le=16)]
Layers = OrderedDict[str, nn.Module]
Task = Literal["classify", "reconstruct"]


class Plan(msgspec.Struct, tag_field="kind", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of the configurations. `multiple`, a field of each, rounds active widths up.

    `widths` makes single groups of channels narrower than the other fields say, as pruning does;
    names are those of `tesla_embed.nn.layers.channel_groups`.
    """

    widths: dict[str, Count] = {}

    def __hash__(self) -> int:
        others = (getattr(self, name) for name in self.__struct_fields__ if name != "widths")
        return hash((*others, frozenset(self.widths.items())))

    @property
    def task(self) -> Task:
        """What the output is: scores of classes, or the input again."""
        return "classify"

    @property
    def gain(self) -> float:
        """Initial weights are drawn from U(-gain/√fan_in, gain/√fan_in); √6 is He's rule."""
        return math.sqrt(6.0)

    def fixed(self) -> tuple[str, ...]:
        """Layers whose output keeps its width."""
        return ()

    def plain(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """The ordinary module for examples of `input_shape`."""
        raise NotImplementedError


def need_images(kind: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of the examples; `ConfigError` where they are no images."""
    if len(input_shape) != 3:
        raise ConfigError(
            f"a network of kind {kind} needs images (H, W, C), the data have {input_shape}; "
            "use kind mlp or other data"
        )
    height, width, channels = input_shape
    return height, width, channels


def need_pixels(kind: str, height: int, width: int) -> None:
    """`ConfigError` when a layer is left with no pixel."""
    if height < 1 or width < 1:
        raise ConfigError(
            f"images are too small for a network of kind {kind}; shrink the first kernel or use "
            "larger images"
        )


def scaled(channels: int, factor: float) -> int:
    """Channels of a narrower or wider network: rounded to the nearest number, at least one."""
    return max(1, round(channels * factor))


def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Depthwise 3 x 3 and pointwise convolution, each with batch norm and ReLU (MobileNetV1)."""
    return nn.Sequential(
        OrderedDict(
            depthwise=nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            depthwise_norm=nn.BatchNorm2d(inputs),
            depthwise_relu=nn.ReLU(),
            pointwise=nn.Conv2d(inputs, outputs, 1, bias=False),
            pointwise_norm=nn.BatchNorm2d(outputs),
            pointwise_relu=nn.ReLU(),
        )
    )
