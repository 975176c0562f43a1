"""A chain of convolutions and fully connected layers, at sizes that fit a microcontroller."""

from collections import OrderedDict
from typing import Annotated, Literal

import msgspec
from torch import nn

from tesla_embed.errors import ConfigError
from tesla_embed.nn.layers import ChannelsFirst
from tesla_embed.nn.zoo.mlp import add_dense, check_entries, fixed_layers
from tesla_embed.nn.zoo.plan import Count, Layers, Pixels, Plan, need_images


class CnnConfig(Plan, tag="cnn", frozen=True):
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
        check_entries("channels", self.channels, "pool_sizes", self.pool_sizes, 1)
        check_entries("channels", self.channels, "channels_scalable", flags, True)
        check_entries("hidden", self.hidden, "hidden_scalable", self.hidden_scalable, True)
        if self.padding >= self.kernel:
            raise ValueError(f"padding {self.padding} must be less than kernel {self.kernel}")

    @property
    def gain(self) -> float:
        """PyTorch's default."""
        return 1.0

    def fixed(self) -> tuple[str, ...]:
        """Layers that are not scalable."""
        dense = fixed_layers("fc", self.hidden_scalable)
        return fixed_layers("conv", self.channels_scalable) + dense

    def plain(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A chain conv1, relu_conv1, pool1, conv2, …, flatten, fc1, …"""
        height, width, channels = need_images("cnn", input_shape)
        pool_kind = nn.MaxPool2d if self.pool == "max" else nn.AvgPool2d
        body: Layers = OrderedDict(input=ChannelsFirst())
        for number, (outputs, pool) in enumerate(
            zip(self.channels, self.pool_sizes, strict=True), 1
        ):
            body[f"conv{number}"] = nn.Conv2d(
                channels, outputs, self.kernel, self.stride, self.padding
            )
            body[f"relu_conv{number}"] = nn.ReLU()
            if pool > 1:
                body[f"pool{number}"] = pool_kind(pool)
            height, width = (self._after(size, pool) for size in (height, width))
            if height < 1 or width < 1:
                raise ConfigError(
                    f"nothing is left of an image of {input_shape[:2]} pixels after conv{number} "
                    "and its pooling; shrink network.kernel or network.pool_sizes"
                )
            channels = outputs
        body["flatten"] = nn.Flatten()
        add_dense(body, height * width * channels, self.hidden, classes)
        return nn.Sequential(body)

    def _after(self, size: int, pool: int) -> int:
        """Height or width after one convolution and its pooling."""
        return ((size + 2 * self.padding - self.kernel) // self.stride + 1) // pool
