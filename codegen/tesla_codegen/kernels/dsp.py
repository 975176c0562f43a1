"""Kernels for Cortex-M4, M7 and M33: 16-bit SIMD over packed weights.

In: an operation of a verified model. Out: its variant, or `None` where no kernel here computes it
exactly (four-bit weights, inputs of several parts, numbers that `pairing` or `channels` refuse).
"""

from typing import assert_never

from tesla_codegen.kernels.compact import compacted
from tesla_codegen.kernels.dsp_add import addition
from tesla_codegen.kernels.dsp_add_once import addition_once
from tesla_codegen.kernels.dsp_conv import convolution
from tesla_codegen.kernels.dsp_dense import fully_connected
from tesla_codegen.kernels.dsp_depthwise import depthwise
from tesla_codegen.kernels.portable import renamed
from tesla_codegen.kernels.variant import Cuts, Optimize, Variant
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


def dsp_variant(model: Model, cuts: Cuts, index: int, optimize: Optimize) -> Variant | None:
    """The variant of operation `index`, or `None` if the portable kernel has to do."""
    variant = _fastest(model, cuts, index, optimize)
    if variant is None or optimize is Optimize.SPEED:
        return variant
    return compacted(model, cuts, index, variant)


def _fastest(model: Model, cuts: Cuts, index: int, optimize: Optimize) -> Variant | None:
    op = model.graph.ops[index]
    match op:
        case FullyConnected():
            return fully_connected(model, cuts, index)
        case Conv2D():
            return convolution(model, cuts, index, optimize)
        case DepthwiseConv2D():
            return depthwise(model, cuts, index)
        case MaxPool2D():
            return renamed(model, op, "tesla_max_pool2d_dsp")
        case AveragePool2D():
            return renamed(model, op, "tesla_average_pool2d_dsp")
        case Mean():
            return renamed(model, op, "tesla_mean_dsp")
        case Add():
            return addition_once(model, cuts, index) or addition(model, cuts, index)
        case Concat() | Pad() | Rescale() | Softmax() | Logistic() | Reshape():
            return None
        case _:
            assert_never(op)
