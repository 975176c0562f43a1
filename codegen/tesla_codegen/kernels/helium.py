"""Kernels for Cortex-M55 and M85: the vectors of Helium over packed weights.

In: an operation of a verified model. Out: its variant, or `None` where no kernel here computes it
exactly (four-bit weights, inputs of several parts, factors of a half and more).
"""

from typing import assert_never

from tesla_codegen.kernels.helium_conv import convolution
from tesla_codegen.kernels.helium_dense import fully_connected
from tesla_codegen.kernels.helium_depthwise import depthwise
from tesla_codegen.kernels.portable import renamed
from tesla_codegen.kernels.variant import Cuts, Variant
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Logistic,
    MaxPool2D,
    Mean,
    Pad,
    Rescale,
    Reshape,
    Softmax,
)


def helium_variant(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """The variant of operation `index`, or `None` if the portable kernel has to do."""
    op = model.graph.ops[index]
    match op:
        case FullyConnected():
            return fully_connected(model, cuts, index)
        case Conv2D():
            return convolution(model, cuts, index)
        case DepthwiseConv2D():
            return depthwise(model, cuts, index)
        case MaxPool2D():
            return renamed(model, op, "tesla_max_pool2d_helium")
        case Add():
            return renamed(model, op, "tesla_add_helium")
        case Mean():
            return renamed(model, op, "tesla_mean_helium")
        case AveragePool2D():
            return renamed(model, op, "tesla_average_pool2d_helium")
        case Concat() | Pad() | Rescale() | Softmax() | Logistic() | Reshape():
            return None
        case _:
            assert_never(op)
