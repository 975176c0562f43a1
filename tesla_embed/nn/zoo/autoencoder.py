"""The autoencoder for anomaly detection of MLPerf Tiny.

After Banbury et al., "MLPerf Tiny Benchmark", NeurIPS 2021: 640-128-128-128-128-8-128-128-128-128-
640 with batch norm and ReLU after every hidden layer, trained to reproduce its input.
"""

import math
from collections import OrderedDict

from torch import nn

from tesla_embed.nn.zoo.plan import Count, Layers, Plan, Task


class AutoencoderConfig(Plan, tag="autoencoder", frozen=True):
    """Fully connected layers from the input to itself.

    `hidden` are the widths of the hidden activations. All scale except `code`, the number (from 1)
    of the narrowest one, which is the code.
    """

    hidden: tuple[Count, ...] = (128, 128, 128, 128, 8, 128, 128, 128, 128)
    code: Count = 5
    multiple: Count = 1

    def __post_init__(self) -> None:
        if self.code > len(self.hidden):
            raise ValueError(f"code {self.code} is beyond the {len(self.hidden)} hidden layers")

    @property
    def task(self) -> Task:
        """Reproduce the input."""
        return "reconstruct"

    def fixed(self) -> tuple[str, ...]:
        """The code."""
        return (f"fc{self.code}",)

    def plain(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A chain fc1, norm1, relu1, fc2, …; the output is the flat input again."""
        features = outputs = math.prod(input_shape)
        body: Layers = OrderedDict(input=nn.Flatten())
        for number, width in enumerate(self.hidden, 1):
            body[f"fc{number}"] = nn.Linear(features, width, bias=False)
            body[f"norm{number}"], body[f"relu{number}"] = nn.BatchNorm1d(width), nn.ReLU()
            features = width
        body[f"fc{len(self.hidden) + 1}"] = nn.Linear(features, outputs)
        return nn.Sequential(body)
