"""MobileNetV1 at a quarter of its width, the visual wake words network of MLPerf Tiny.

After Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, in the form of Banbury et al., "MLPerf Tiny Benchmark", NeurIPS 2021.
"""

from collections import OrderedDict

from torch import nn

from tesla_embed.nn.layers import ChannelsFirst
from tesla_embed.nn.zoo.plan import Count, Factor, Layers, Plan, need_images, scaled, separable

BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
"""Output channels at full width and stride of the 13 separable convolutions."""


class MobileNetConfig(Plan, tag="mobilenet-v1", frozen=True):
    """A convolution with 32 · `width` channels, 13 separable ones, the mean and a layer.

    Made for 96 x 96 x 3; `stem_stride` 1 suits images of about 32 pixels.
    """

    width: Factor = 0.25
    stem_stride: Count = 2
    multiple: Count = 1

    def plain(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A chain conv, norm, relu, block1, …, block13, mean, flatten, classifier."""
        inputs, channels = need_images("mobilenet-v1", input_shape)[2], scaled(32, self.width)
        body: Layers = OrderedDict(input=ChannelsFirst())
        body["conv"] = nn.Conv2d(inputs, channels, 3, self.stem_stride, 1, bias=False)
        body["norm"], body["relu"] = nn.BatchNorm2d(channels), nn.ReLU()
        for number, (outputs, stride) in enumerate(BLOCKS, 1):
            body[f"block{number}"] = separable(channels, scaled(outputs, self.width), stride)
            channels = scaled(outputs, self.width)
        body["mean"], body["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        body["classifier"] = nn.Linear(channels, classes)
        return nn.Sequential(body)
