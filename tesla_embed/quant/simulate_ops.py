"""Operations without weights, as the simulation runs them: exact forwards, smooth backwards.

Tensors hold integers minus their zero point, in float32, images `[N, H, W, C]`. What comes out is
the integer interpreter's own result; what gradients see is the same function without rounding, zero
where a value is clamped.
"""

from collections.abc import Sequence
from typing import Any, assert_never, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tesla_embed.errors import GraphError
from tesla_embed.ir.graph import Graph
from tesla_embed.ir.interpret import apply_op
from tesla_embed.ir.ops import (
    Activation,
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Logistic,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Rescale,
    Reshape,
    Softmax,
    Window,
)
from tesla_embed.ir.requantization import activation_range, quantization

_NEVER = -1e6
"""Padding that no maximum is."""


def weightless(op: Op, graph: Graph, sources: Sequence[Tensor]) -> Tensor:
    """The output of `op`, of a graph with one region's types, for what it reads."""
    x, target = sources[0], graph.tensors[op.output].type
    if isinstance(op, Reshape):
        return x.reshape(len(x), *target.shape)
    if isinstance(op, MaxPool2D):
        return _largest(x, op.window)
    integers = {}
    for index, source in zip(op.inputs, sources, strict=True):
        whole = source.detach().cpu().numpy() + quantization(graph.tensors[index].type).zero_point
        integers[index] = whole.astype(np.int8)
    zero_point = quantization(target).zero_point
    exact = torch.from_numpy(apply_op(op, None, graph, integers).astype(np.float32) - zero_point)
    activation = op.activation if isinstance(op, Add | Rescale) else Activation.NONE
    low, high = activation_range(activation, quantization(target))
    smooth = _smooth(op, graph, sources)
    return straight(smooth.clamp(low - zero_point, high - zero_point), exact.to(x.device))


def _smooth(op: Op, graph: Graph, sources: Sequence[Tensor]) -> Tensor:
    """Without rounding, in units of the output's scale."""
    scale = quantization(graph.tensors[op.output].type).scale
    scales = [quantization(graph.tensors[index].type).scale for index in op.inputs]
    scaled = [x * (own / scale) for x, own in zip(sources, scales, strict=True)]
    x = scaled[0]
    match op:
        case AveragePool2D():
            return _average(x, op.window)
        case Add():
            return scaled[0] + scaled[1]
        case Concat():
            return torch.cat(scaled, dim=op.axis + 1)
        case Pad():
            return F.pad(x, (0, 0, op.left, op.right, op.top, op.bottom))
        case Mean():
            return x.mean(dim=(1, 2), keepdim=True)
        case Rescale():
            return x
        case Softmax():
            return (sources[0] * scales[0]).softmax(dim=-1) / scale
        case Logistic():
            return (sources[0] * scales[0]).sigmoid() / scale
        case FullyConnected() | Conv2D() | DepthwiseConv2D() | MaxPool2D() | Reshape():
            raise GraphError(f"{op.name}: is computed elsewhere")
        case _:
            assert_never(op)


def _largest(x: Tensor, window: Window) -> Tensor:
    pooled = F.max_pool2d(
        channels_first(padded(x, window, _NEVER)),
        (window.height, window.width),
        (window.stride_height, window.stride_width),
    )
    return pooled.permute(0, 2, 3, 1)


def _average(x: Tensor, window: Window) -> Tensor:
    """Mean over the part of each window that lies inside the image."""

    def summed(values: Tensor) -> Tensor:
        area = (window.height, window.width)
        strides = (window.stride_height, window.stride_width)
        inside = channels_first(padded(values, window, 0.0))
        return F.avg_pool2d(inside, area, strides, divisor_override=1).permute(0, 2, 3, 1)

    return summed(x) / summed(torch.ones_like(x[:1, :, :, :1]))


class _Straight(torch.autograd.Function):
    """`exact` in the forward direction, `smooth` in the backward direction."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight(smooth: Tensor, exact: Tensor) -> Tensor:
    """`exact`, with the gradient of `smooth` (the straight-through estimator)."""
    return cast(Tensor, _Straight.apply(smooth, exact))  # type: ignore[no-untyped-call]


def clamped(smooth: Tensor, exact: Tensor, low: float, high: float) -> Tensor:
    """`exact` within `low` to `high`; beyond them the gradient is zero."""
    return straight(smooth.clamp(low, high), exact.clamp(low, high))


def padded(x: Tensor, window: Window, value: float) -> Tensor:
    """An image with the window's padding."""
    sides = (0, 0, window.pad_left, window.pad_right, window.pad_top, window.pad_bottom)
    return F.pad(x, sides, value=value) if any(sides) else x


def channels_first(x: Tensor) -> Tensor:
    """`[N, H, W, C]` as PyTorch's functions take it."""
    return x.permute(0, 3, 1, 2)
