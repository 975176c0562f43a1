"""What an operation becomes in C: its kernel, and the constants that no region changes."""

from typing import assert_never

from tesla_codegen.tables import Initializer
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Op,
    Reshape,
    Window,
)
from tesla_embed.ir.types import TensorType


def kernel_name(op: Op) -> str:
    """The C function that computes an operation."""
    match op:
        case FullyConnected():
            return f"tesla_fully_connected_s{op.weights.bits}"
        case Conv2D():
            return f"tesla_conv2d_s{op.weights.bits}"
        case DepthwiseConv2D():
            return f"tesla_depthwise_conv2d_s{op.weights.bits}"
        case MaxPool2D():
            return "tesla_max_pool2d_s8"
        case AveragePool2D():
            return "tesla_average_pool2d_s8"
        case Add():
            return "tesla_add_s8"
        case Reshape():
            raise CodegenError(f"{op.name}: reshaping has no kernel")
        case _:
            assert_never(op)


def layer_constants(model: Model, op: Op) -> Initializer | None:
    """The part of a kernel's parameters that no region changes; `None` where there is none."""
    source, target = (model.graph.tensors[i].type for i in (op.input, op.output))
    fields: tuple[str, ...]
    match op:
        case FullyConnected():
            c_type = "tesla_fully_connected_t"
            fields = (f".groups = {source.positions}", f".group_channels = {source.channels}")
        case Conv2D():
            c_type = "tesla_conv2d_t"
            window = (f".window{field}" for field in _window(op.window, source, target))
            fields = (*window, f".full_channels = {source.channels}")
        case DepthwiseConv2D():
            c_type = "tesla_depthwise_conv2d_t"
            window = (f".window{field}" for field in _window(op.window, source, target))
            fields = (*window, f".multiplier = {target.channels // source.channels}")
        case MaxPool2D() | AveragePool2D():
            c_type = "tesla_window_t"
            fields = _window(op.window, source, target)
        case Add() | Reshape():
            return None
        case _:
            assert_never(op)
    return Initializer(c_type=c_type, name=f"{op.name}_layer", fields=fields)


def _window(window: Window, source: TensorType, target: TensorType) -> tuple[str, ...]:
    return (
        f".input_height = {source.shape[0]}",
        f".input_width = {source.shape[1]}",
        f".output_height = {target.shape[0]}",
        f".output_width = {target.shape[1]}",
        f".height = {window.height}",
        f".width = {window.width}",
        f".stride_height = {window.stride_height}",
        f".stride_width = {window.stride_width}",
        f".dilation_height = {window.dilation_height}",
        f".dilation_width = {window.dilation_width}",
        f".pad_top = {window.pad_top}",
        f".pad_left = {window.pad_left}",
    )
