"""DS-CNN, the keyword spotting network of MLPerf Tiny.

After Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", 2017, size S, in the form of
Banbury et al., "MLPerf Tiny Benchmark", NeurIPS 2021.
"""

from collections import OrderedDict
from typing import Annotated

import msgspec
from torch import nn

from tesla_embed.nn.layers import ChannelsFirst
from tesla_embed.nn.zoo.plan import Count, Layers, Plan, need_images, need_pixels, separable


class DscnnConfig(Plan, tag="dscnn", frozen=True):
    """A convolution, `blocks` separable ones of `channels` channels, the mean and a layer.

    Made for 49 x 10 spectra, `[B, 49, 10, 1]`; `kernel`, `stride` and `padding` (height, width) of
    the first convolution make it 25 x 5 and may be changed for other images. `dropout` is the
    share of values left out in training after the first convolution, twice that before the mean.
    """

    channels: Count = 64
    blocks: Count = 4
    kernel: tuple[Count, Count] = (10, 4)
    stride: tuple[Count, Count] = (2, 2)
    padding: tuple[int, int] = (5, 1)
    dropout: Annotated[float, msgspec.Meta(ge=0, le=0.45)] = 0.0
    multiple: Count = 1

    def __post_init__(self) -> None:
        if not all(0 <= p < k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise ValueError(f"padding {self.padding} must be less than kernel {self.kernel}")

    def plain(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A chain conv, norm, relu, block1, …, mean, flatten, classifier."""
        *size, channels = need_images("dscnn", input_shape)
        rows = zip(size, self.padding, self.kernel, strict=True)
        need_pixels("dscnn", *(n + 2 * p - k + 1 for n, p, k in rows))
        body: Layers = OrderedDict(input=ChannelsFirst())
        body["conv"] = nn.Conv2d(
            channels, self.channels, self.kernel, self.stride, self.padding, bias=False
        )
        body["norm"], body["relu"] = nn.BatchNorm2d(self.channels), nn.ReLU()
        if self.dropout:
            body["dropout1"] = nn.Dropout(self.dropout)
        for number in range(1, self.blocks + 1):
            body[f"block{number}"] = separable(self.channels, self.channels, 1)
        if self.dropout:
            body["dropout2"] = nn.Dropout(2 * self.dropout)
        body["mean"], body["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        body["classifier"] = nn.Linear(self.channels, classes)
        return nn.Sequential(body)
