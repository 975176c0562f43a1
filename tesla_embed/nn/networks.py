"""The scalable networks that can be trained here, built from a configuration.

In: a configuration, the shape of one example and the number of classes. Out: a `Network`, whose
`body` is a chain of named modules. Refuses, with `ConfigError`, configurations that do not fit the
data. Every scalable tensor's profile is applied exactly once: by the convolution that produces it
(Eq. 2) or by the fully connected layer that consumes it (Eq. 1).
"""

import json
import math
from collections import OrderedDict
from typing import Annotated, Literal

import msgspec
import torch
from torch import Tensor, nn

from tesla_embed.errors import ConfigError
from tesla_embed.ir.verify import MAX_DIMENSION, MAX_WINDOW
from tesla_embed.nn.layers import IncompleteConv2d, IncompleteLayer, IncompleteLinear
from tesla_embed.nn.profiles import make_profile

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_DIMENSION)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=MAX_WINDOW)]


class MlpConfig(
    msgspec.Struct, tag_field="kind", tag="mlp", forbid_unknown_fields=True, frozen=True
):
    """Fully connected layers with ReLU between them.

    `hidden` are the widths of the hidden activations, `scalable` says which of them scale with the
    DP percentage, `multiple` rounds active widths up.
    """

    hidden: tuple[Count, ...]
    scalable: tuple[bool, ...]
    multiple: Count = 1

    def __post_init__(self) -> None:
        _check_entries("hidden", self.hidden, "scalable", self.scalable, True)


class CnnConfig(
    msgspec.Struct, tag_field="kind", tag="cnn", forbid_unknown_fields=True, frozen=True
):
    """Convolutions, each with ReLU and pooling, then fully connected layers.

    `channels[i]` output channels of a `kernel` by `kernel` convolution are followed by `pool`ing
    over windows of `pool_sizes[i]` pixels (1: none). `hidden` are the widths of fully connected
    layers between the last image and the classes. The two lists of flags say which activations
    scale with the DP percentage, `multiple` rounds active widths up.
    """

    channels: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)]
    pool_sizes: tuple[Pixels, ...]
    channels_scalable: tuple[bool, ...]
    hidden: tuple[Count, ...] = ()
    hidden_scalable: tuple[bool, ...] = ()
    kernel: Pixels = 3
    stride: Pixels = 1
    padding: Annotated[int, msgspec.Meta(ge=0)] = 1
    pool: Literal["max", "average"] = "max"
    multiple: Count = 1

    def __post_init__(self) -> None:
        flags = self.channels_scalable
        _check_entries("channels", self.channels, "pool_sizes", self.pool_sizes, 1)
        _check_entries("channels", self.channels, "channels_scalable", flags, True)
        _check_entries("hidden", self.hidden, "hidden_scalable", self.hidden_scalable, True)
        if self.padding >= self.kernel:
            raise ValueError(f"padding {self.padding} must be less than kernel {self.kernel}")


NetworkConfig = MlpConfig | CnnConfig
Layers = OrderedDict[str, nn.Module]


def _check_entries(
    name: str, values: tuple[int, ...], other: str, entries: tuple[int, ...], usual: int
) -> None:
    """Refuse lists of unequal length; the advice keeps entries that exist and adds `usual` ones."""
    if len(values) == len(entries):
        return
    fitting = (*entries[: len(values)], *[usual] * (len(values) - len(entries)))
    advice = json.dumps(fitting, separators=(",", ":"))
    raise ValueError(
        f"{name} has {len(values)} entries but {other} has {len(entries)}; "
        f"add --set {other}={advice}"
    )


class ChannelsFirst(nn.Module):
    """Turns images as data sets have them, `[B, H, W, C]`, into `[B, C, H, W]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, H, W, C]` to `[B, C, H, W]`."""
        return x.permute(0, 3, 1, 2)


class Network(nn.Module):
    """A chain of named modules, `body`, from examples `[B, *input_shape]` to logits.

    `input_shape` is the shape of one example as the data set has it, `(H, W, C)` or `(features,)`.
    """

    def __init__(
        self, body: Layers, config: NetworkConfig, input_shape: tuple[int, ...], classes: int
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(body)
        self.config = config
        self.input_shape = input_shape
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Map examples `[B, *input_shape]` to logits `[B, classes]`."""
        logits: Tensor = self.body(x)
        return logits


class Mlp(Network):
    """Multilayer perceptron (the paper, section 4.1); images count as vectors in `[H, W, C]` order.

    784-100-100-10 with only the first hidden activation scalable is the paper's network.
    """

    def __init__(
        self, config: MlpConfig, input_shape: tuple[int, ...], classes: int, profile: str
    ) -> None:
        body: Layers = OrderedDict(input=nn.Flatten())
        features = math.prod(input_shape)
        _add_dense(
            body, features, config.hidden, config.scalable, classes, profile, config.multiple
        )
        super().__init__(body, config, input_shape, classes)


class Cnn(Network):
    """Convolutional network (the paper, section 4.2, at sizes that fit a microcontroller)."""

    def __init__(
        self, config: CnnConfig, input_shape: tuple[int, ...], classes: int, profile: str
    ) -> None:
        if len(input_shape) != 3:
            raise ConfigError(
                f"a network of kind cnn needs images (H, W, C), the data have {input_shape}; "
                "use kind mlp or other data"
            )
        body: Layers = OrderedDict(input=ChannelsFirst())
        features = _add_convolutions(body, config, input_shape, profile)
        body["flatten"] = nn.Flatten()
        _add_dense(
            body,
            features,
            config.hidden,
            config.hidden_scalable,
            classes,
            profile,
            config.multiple,
        )
        super().__init__(body, config, input_shape, classes)


_POOLS: dict[str, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {
    "max": nn.MaxPool2d,
    "average": nn.AvgPool2d,
}


def _add_convolutions(
    body: Layers, config: CnnConfig, input_shape: tuple[int, ...], profile: str
) -> int:
    """Add conv1, pool1, conv2, …; returns how many values the last image holds."""
    height, width, channels = input_shape
    rows = zip(config.channels, config.channels_scalable, config.pool_sizes, strict=True)
    for number, (outputs, scalable, pool) in enumerate(rows, 1):
        body[f"conv{number}"] = IncompleteConv2d(
            channels,
            outputs,
            config.kernel,
            stride=config.stride,
            padding=config.padding,
            profile=make_profile(profile, outputs) if scalable else None,
            scalable=scalable,
            multiple=config.multiple,
        )
        body[f"relu_conv{number}"] = nn.ReLU()
        if pool > 1:
            body[f"pool{number}"] = _POOLS[config.pool](pool)
        height, width = (_after(size, config, pool) for size in (height, width))
        if height < 1 or width < 1:
            raise ConfigError(
                f"nothing is left of an image of {input_shape[:2]} pixels after conv{number} and "
                "its pooling; shrink network.kernel or network.pool_sizes"
            )
        channels = outputs
    return height * width * channels


def _after(size: int, config: CnnConfig, pool: int) -> int:
    """Height or width after one convolution and its pooling."""
    return ((size + 2 * config.padding - config.kernel) // config.stride + 1) // pool


def _add_dense(
    body: Layers,
    features: int,
    hidden: tuple[int, ...],
    scalable: tuple[bool, ...],
    classes: int,
    profile: str,
    multiple: int,
) -> None:
    """Add fc1, fc2, … from `features` inputs, which need no profile any more, to `classes`."""
    gamma = None
    for number, (width, scales) in enumerate(zip(hidden, scalable, strict=True), 1):
        body[f"fc{number}"] = IncompleteLinear(
            features, width, profile=gamma, scalable=scales, multiple=multiple
        )
        body[f"relu_fc{number}"] = nn.ReLU()
        gamma = make_profile(profile, width) if scales else None
        features = width
    body[f"fc{len(hidden) + 1}"] = IncompleteLinear(features, classes, profile=gamma)


def assemble(
    config: NetworkConfig, input_shape: tuple[int, ...], classes: int, profile: str
) -> Network:
    """Build a network for examples of `input_shape`, its weights all zero.

    Raises `ConfigError` when the configuration does not fit the data.
    """
    if isinstance(config, MlpConfig):
        return Mlp(config, input_shape, classes, profile)
    return Cnn(config, input_shape, classes, profile)


def build(
    config: NetworkConfig, input_shape: tuple[int, ...], classes: int, profile: str, seed: int
) -> Network:
    """Like `assemble`, with initial weights drawn from `seed`."""
    network = assemble(config, input_shape, classes, profile)
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, IncompleteLayer):
            layer.reset(generator)
    return network
