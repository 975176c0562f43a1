"""Multilayer perceptron (the paper, section 4.1)."""

import json
import math
from collections import OrderedDict

from torch import nn

from tesla_embed.nn.zoo.plan import Count, Layers, Plan


class MlpConfig(Plan, tag="mlp", frozen=True):
    """Fully connected layers with ReLU between them; images count as vectors in [H, W, C] order.

    `hidden` are the widths of the hidden activations, `scalable` says which of them scale with the
    DP percentage, `multiple` rounds active widths up.
    784-100-100-10 with only the first hidden activation scalable is the paper's network.
    """

    hidden: tuple[Count, ...]
    scalable: tuple[bool, ...]
    multiple: Count = 1

    def __post_init__(self) -> None:
        check_entries("hidden", self.hidden, "scalable", self.scalable, True)

    @property
    def gain(self) -> float:
        """PyTorch's default."""
        return 1.0

    def fixed(self) -> tuple[str, ...]:
        """Hidden layers that are not scalable."""
        return fixed_layers("fc", self.scalable)

    def plain(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A chain fc1, relu_fc1, fc2, …"""
        body: Layers = OrderedDict(input=nn.Flatten())
        add_dense(body, math.prod(input_shape), self.hidden, classes)
        return nn.Sequential(body)


def check_entries(
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


def fixed_layers(prefix: str, scalable: tuple[bool, ...]) -> tuple[str, ...]:
    """Names of the layers, numbered from 1, that do not scale."""
    return tuple(f"{prefix}{number}" for number, scales in enumerate(scalable, 1) if not scales)


def add_dense(body: Layers, features: int, hidden: tuple[int, ...], classes: int) -> None:
    """Add fc1, relu_fc1, fc2, … from `features` inputs to `classes` outputs."""
    for number, width in enumerate(hidden, 1):
        body[f"fc{number}"] = nn.Linear(features, width)
        body[f"relu_fc{number}"] = nn.ReLU()
        features = width
    body[f"fc{len(hidden) + 1}"] = nn.Linear(features, classes)
