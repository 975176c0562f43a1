"""Random models whose middle layers have the widths, windows and prefixes that vectors care about.

A convolution of one tap makes the channels that scale, the operation in question reads and makes
such channels, and a fully connected layer of fixed width ends the network.
"""

import math
from dataclasses import dataclass

import numpy as np

from graphs.grow import Builder, Cell
from graphs.models import finish, float_inputs
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import FullyConnected, Window
from tesla_embed.ir.types import Weights
from tesla_embed.ir.verify import verify
from tesla_embed.quant import calibrate, quantize

KINDS = ("conv3x3", "conv3x3s2", "conv1x1", "first", "free", "depthwise3x3", "depthwise", "fc")
"""What the middle of a wide model may be."""
_SIZES = {"conv3x3": (3, 3), "conv3x3s2": (3, 3), "conv1x1": (1, 1), "depthwise3x3": (3, 3)}


@dataclass(slots=True)
class _Wide(Builder):
    """A builder that takes windows of a given size and step."""

    size: tuple[int, int] = (1, 1)
    steps: tuple[int, int] = (1, 1)

    def window(self, pool: bool = False, style: str = "") -> Window:
        """The window in question, with the padding that keeps a size divided by the step."""
        height, width = self.last.shape[:2]
        vertical = self._padding("same", height, self.size[0], self.steps[0])
        horizontal = self._padding("same", width, self.size[1], self.steps[1])
        return Window(
            height=self.size[0],
            width=self.size[1],
            stride_height=self.steps[0],
            stride_width=self.steps[1],
            pad_top=vertical[0],
            pad_bottom=vertical[1],
            pad_left=horizontal[0],
            pad_right=horizontal[1],
        )

    def weights(self, shape: tuple[int, ...]) -> Weights:
        """Normal weights: long sums of a dead channel have no exact integers."""
        data = self.rng.normal(0, 1 / math.sqrt(math.prod(shape[1:])), shape)
        return Weights(data=data.astype(np.float32))

    def dense(self, outputs: int, scalable: bool) -> None:
        """A fully connected layer of a given width."""
        cell = Cell(outputs, scalable)
        op = FullyConnected(
            **self.ends("fc"),
            weights=self.weights((outputs, self.last.size)),
            activation=self.activation(),
        )
        self.add(op, (outputs,), (cell,))


def wide_model(seed: int) -> Model:
    """A quantised model around one operation of up to 70 channels, in four regions."""
    builder = _Wide(np.random.default_rng([seed, 2]), portable=True)
    kind = KINDS[seed % len(KINDS)]
    shape = (builder.below(12), builder.below(13))
    builder.begin((*shape, builder.below(20) if kind == "first" else builder.below(3)))
    if kind == "fc":
        _width(builder)
        builder.reshape((builder.last.size,))
        builder.dense(builder.below(70), scalable=True)
    else:
        grow_middle(builder, kind)
    builder.reshape((builder.last.size,))
    builder.dense(builder.below(20), scalable=False)
    model = verify(finish(builder, "wide", dps=(25, 50, 75, 100)))
    return quantize(model, calibrate(model, float_inputs(model, seed, 8)))


def strip_model(seed: int) -> Model:
    """A quantised model around a depthwise convolution over an image of more lines than kernels
    take at a time, long or high."""
    builder = _Wide(np.random.default_rng([seed, 3]), portable=True)
    shape = ((20, 24), (24, 6), (5, 30), (19, 19), (30, 17))[seed % 5]
    builder.begin((*shape, builder.below(3)))
    _width(builder, most=18)
    builder.size, step = (3, 3), 1 + seed // 5 % 2
    builder.steps = (step, step)
    builder.depthwise()
    builder.pool(average=True)
    builder.mean()
    builder.reshape((builder.last.size,))
    builder.dense(builder.below(20), scalable=False)
    model = verify(finish(builder, "strip", dps=(25, 50, 75, 100)))
    return quantize(model, calibrate(model, float_inputs(model, seed, 8)))


def _width(builder: _Wide, most: int = 70) -> None:
    """Scalable channels, by a convolution of one tap; often a multiple of 16 of them."""
    builder.size, builder.steps = (1, 1), (1, 1)
    channels = 16 * builder.below(most // 16) if builder.chance(0.4) else builder.below(most)
    builder.conv(Cell(channels, scalable=True))


def grow_middle(builder: _Wide, kind: str) -> None:
    """The operation in question, and whatever has to make its input."""
    if kind != "first":
        _width(builder)
    builder.size = _SIZES.get(kind, (builder.below(5), builder.below(5)))
    step = 2 if kind == "conv3x3s2" else 1 if kind in ("conv3x3", "conv1x1") else builder.below(2)
    builder.steps = (step, step)
    if kind.startswith("depthwise"):
        builder.depthwise()
        builder.pool(average=builder.chance(0.5))
    else:
        channels = 16 * builder.below(4) if builder.chance(0.4) else builder.below(70)
        builder.conv(Cell(channels, scalable=True))
