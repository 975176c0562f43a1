"""ResNet-8, the image classification network of MLPerf Tiny.

After He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, in the sizes of Banbury
et al., "MLPerf Tiny Benchmark", NeurIPS 2021.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from tesla_embed.nn.layers import ChannelsFirst
from tesla_embed.nn.zoo.plan import Count, Factor, Plan, need_images, scaled

STACKS = (16, 32, 64)
"""Channels of the three residual blocks; the second and the third halve the image."""


class ResNet8Config(Plan, tag="resnet8", frozen=True):
    """A convolution, three residual blocks of two, the mean over space and a layer.

    `width` multiplies all channels, `multiple` rounds active widths up.
    """

    width: Factor = 1.0
    multiple: Count = 1

    def plain(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A `ResNet8`."""
        channels = need_images("resnet8", input_shape)[2]
        return ResNet8(channels, tuple(scaled(c, self.width) for c in STACKS), classes)


class Block(nn.Module):
    """relu(norm2(conv2(relu(norm1(conv1(x))))) + shortcut(x)), x `[B, inputs, H, W]`.

    With stride 2 the shortcut is a 1 x 1 convolution, with stride 1 the identity.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if plain else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y)) + self.shortcut(x)
        return F.relu(y)


class ResNet8(nn.Module):
    """The network over images `[B, H, W, C]`."""

    def __init__(self, channels: int, stacks: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.input = ChannelsFirst()
        self.conv = nn.Conv2d(channels, stacks[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(stacks[0])
        self.block1 = Block(stacks[0], stacks[0], 1)
        self.block2 = Block(stacks[0], stacks[1], 2)
        self.block3 = Block(stacks[1], stacks[2], 2)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(stacks[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, H, W, C]` to `[B, classes]`."""
        x = F.relu(self.norm(self.conv(self.input(x))))
        x = self.block3(self.block2(self.block1(x)))
        scores: Tensor = self.classifier(self.mean(x).flatten(1))
        return scores
