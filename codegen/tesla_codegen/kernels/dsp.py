"""Kernels for Cortex-M4, M7 and M33: 16-bit SIMD over packed weights.

In: an operation of a verified model. Out: its variant, or `None` where no kernel here computes it
exactly (four-bit weights, inputs of several parts, numbers that `pairing` or `channels` refuse).
"""

from typing import assert_never

from tesla_codegen.kernels.dsp_dense import fully_connected
from tesla_codegen.kernels.variant import Optimize, Variant
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


def dsp_variant(model: Model, index: int, optimize: Optimize) -> Variant | None:
    """The variant of operation `index`, or `None` if the portable kernel has to do."""
    op = model.graph.ops[index]
    match op:
        case FullyConnected():
            return fully_connected(model, index)
        case Conv2D() | DepthwiseConv2D():
            return None
        case MaxPool2D() | AveragePool2D() | Mean() | Add() | Concat() | Pad():
            return None
        case Rescale() | Softmax() | Logistic() | Reshape():
            return None
        case _:
            assert_never(op)
