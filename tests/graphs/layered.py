"""Random chains of the layers that fast kernels exist for, in shapes that choose between them."""

import numpy as np

from graphs.extremes import sharpened
from graphs.grow import Builder, Cell
from graphs.models import finish, float_inputs
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Window
from tesla_embed.ir.verify import verify
from tesla_embed.quant.calibrate import calibrate
from tesla_embed.quant.quantize import quantize


class _Layers(Builder):
    """A builder whose windows mostly are those of common networks."""

    def window(self, pool: bool = False, style: str = "") -> Window:
        if style == "keep" or self.chance(0.3):
            return super().window(pool, style)
        if pool:
            return Window(height=2, width=2, stride_height=2, stride_width=2)
        if self.chance(0.3):
            return Window(height=1, width=1)
        stride = self.below(2)
        top, left = (int(n) for n in self.rng.integers(0, 3, 2))
        return Window(
            height=3,
            width=3,
            stride_height=stride,
            stride_width=stride,
            pad_top=top,
            pad_bottom=1,
            pad_left=left,
            pad_right=1,
        )


def layered_model(seed: int, name: str = "net") -> Model:
    """A verified quantised model: an image, some layers over it, and two over what is left."""
    builder = _Layers(np.random.default_rng([seed, 7]), portable=False)
    channels = int(builder.rng.choice([1, 3, 4, builder.below(9)]))
    builder.begin((builder.below(12), builder.below(12), channels))
    for _ in range(1 + builder.below(6)):
        kind = str(builder.rng.choice(["conv", "conv", "depthwise", "pool", "residual"]))
        if kind == "conv":
            builder.conv(Cell(builder.below(22), builder.chance(0.8)))
        elif kind == "depthwise":
            builder.depthwise()
        elif kind == "residual":
            builder.residual()
        else:
            builder.pool(average=builder.chance(0.3))
    builder.reshape((builder.last.size,))
    for scalable in (True, False):
        builder.fully_connected(scalable)
    model = verify(finish(builder, name))
    return quantize(model, calibrate(model, float_inputs(model, seed, 8)))


class _Filters(Builder):
    """A builder whose windows are 3 by 3 taps with stride 1 and any padding below 3."""

    def window(self, pool: bool = False, style: str = "") -> Window:
        top, bottom, left, right = (int(n) for n in self.rng.integers(0, 3, 4))
        sides = {"pad_top": top, "pad_bottom": bottom, "pad_left": left, "pad_right": right}
        return Window(height=3, width=3, **sides)


def filtered_model(seed: int, name: str = "net") -> Model:
    """A verified quantised model of convolutions of 3 by 3 taps, the last with all its outputs.

    Every third one has numbers at the edges of what packed tables hold.
    """
    builder = _Filters(np.random.default_rng([seed, 8]), portable=False)
    channels = int(builder.rng.choice([1, 3, 4, builder.below(20)]))
    builder.begin((2 + builder.below(12), 2 + builder.below(16), channels))
    for _ in range(builder.below(2)):
        builder.conv(Cell(builder.below(22), builder.chance(0.9)))
    while builder.scales or not builder.ops:
        builder.conv(Cell(builder.below(22)))
    model = verify(finish(builder, name))
    model = quantize(model, calibrate(model, float_inputs(model, seed, 8)))
    return sharpened(model, np.random.default_rng([seed, 9])) if seed % 3 == 0 else model
