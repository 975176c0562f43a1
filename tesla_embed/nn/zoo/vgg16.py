"""VGG-16 with one fully connected layer: the paper's network for CIFAR (section 4.2).

After Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR 2015, configuration D, its dense layers replaced by one classifier.
"""

from collections import OrderedDict
from typing import Literal

from torch import nn

from tesla_embed.nn.layers import ChannelsFirst
from tesla_embed.nn.zoo.plan import Count, Factor, Layers, Plan, need_images, scaled

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the 13 convolutions; a pool ends each block."""


class Vgg16Config(Plan, tag="vgg16", frozen=True):
    """Thirteen 3 x 3 convolutions with ReLU and five pools, then the mean over space and a layer.

    `width` multiplies all channels. `batch_norm` puts batch norm after every convolution: the
    original has none, but then it trains only from pre-trained weights. `pool` halves the image
    after each block for as long as it has two pixels either way; the paper takes "average" for its
    class activation maps. At 32 x 32 pixels the mean is over one pixel and left out.
    """

    width: Factor = 1.0
    batch_norm: bool = True
    pool: Literal["max", "average"] = "max"
    multiple: Count = 1

    def plain(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A chain conv1_1, …, conv5_3, flatten, classifier."""
        height, width, channels = need_images("vgg16", input_shape)
        pool_kind = nn.MaxPool2d if self.pool == "max" else nn.AvgPool2d
        body: Layers = OrderedDict(input=ChannelsFirst())
        for block, row in enumerate(BLOCKS, 1):
            for index, plain_outputs in enumerate(row, 1):
                outputs, name = scaled(plain_outputs, self.width), f"{block}_{index}"
                body[f"conv{name}"] = nn.Conv2d(
                    channels, outputs, 3, padding=1, bias=not self.batch_norm
                )
                if self.batch_norm:
                    body[f"norm{name}"] = nn.BatchNorm2d(outputs)
                body[f"relu{name}"] = nn.ReLU()
                channels = outputs
            if min(height, width) > 1:
                body[f"pool{block}"] = pool_kind(2)
                height, width = height // 2, width // 2
        if height * width > 1:
            body["mean"] = nn.AdaptiveAvgPool2d(1)
        body["flatten"] = nn.Flatten()
        body["classifier"] = nn.Linear(channels, classes)
        return nn.Sequential(body)
