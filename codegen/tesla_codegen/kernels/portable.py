"""The portable kernel of every operation, and the constants that no region changes."""

from dataclasses import replace
from typing import assert_never

from tesla_codegen.kernels.rows import row_type, rows_of
from tesla_codegen.kernels.variant import Variant
from tesla_codegen.tables import Initializer, packed
from tesla_embed.errors import CodegenError
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
    Op,
    Pad,
    Rescale,
    Reshape,
    Softmax,
    Weighted,
    Window,
)
from tesla_embed.ir.parts import Parts, channel_parts, joined
from tesla_embed.ir.types import TensorType


def portable_variant(model: Model, op: Op) -> Variant:
    """Plain C99 for an operation that runs code; weights lie as they are. There always is one."""
    return Variant(
        kernel=kernel_name(model, op),
        row=row_type(op),
        rows=rows_of,
        layer=layer_constants(model, op),
        weights=packed(op.weights) if isinstance(op, Weighted) else None,
        parts=input_parts(model, op),
    )


def renamed(model: Model, op: Op, kernel: str) -> Variant:
    """A kernel of another instruction set that takes exactly what the portable one takes."""
    return replace(portable_variant(model, op), kernel=kernel)


def input_parts(model: Model, op: Op) -> tuple[Parts, ...]:
    """Per region the parts of what an operation with weights reads, where its kernel is told them.

    Nothing where the active input channels are the leading ones, except for dilated convolutions of
    int8: one kernel serves both, so that the plain one need not know of either.
    """
    if not isinstance(op, Weighted):
        return ()
    rows = [channel_parts(model.graph, region)[op.input] for region in model.regions]
    parts = joined(rows)
    dilated = isinstance(op, Conv2D) and op.window.dilation_height * op.window.dilation_width > 1
    told = dilated and op.weights.bits == 8
    return parts if len(parts[0]) > 1 or told else ()


def kernel_name(model: Model, op: Op) -> str:
    """The C function that computes an operation."""
    variant = _variant(model, op) if isinstance(op, Weighted) else ""
    match op:
        case FullyConnected():
            return f"tesla_fully_connected{variant}"
        case Conv2D():
            return f"tesla_conv2d{variant}"
        case DepthwiseConv2D():
            return f"tesla_depthwise_conv2d{variant}"
        case MaxPool2D():
            return "tesla_max_pool2d_s8"
        case AveragePool2D():
            return "tesla_average_pool2d_s8"
        case Mean():
            return "tesla_mean_s8"
        case Add():
            return "tesla_add_s8"
        case Concat():
            return "tesla_concat_s8"
        case Pad():
            return "tesla_pad_s8"
        case Rescale():
            return "tesla_rescale_s8"
        case Softmax():
            return "tesla_softmax_s8"
        case Logistic():
            return "tesla_lookup_s8"
        case Reshape():
            raise CodegenError(f"{op.name}: reshaping has no kernel")
        case _:
            assert_never(op)


def _variant(model: Model, op: Weighted) -> str:
    """Which of an operation's kernels: by the parts of its input and the bits of its weights."""
    if not input_parts(model, op):
        return f"_s{op.weights.bits}"
    if op.weights.bits != 8:
        raise CodegenError(f"{op.name}: reads a concatenation, which needs weights of eight bits")
    return "_parts_s8"


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
        case Mean():
            c_type = "tesla_mean_t"
            fields = (f".pixels = {source.positions}",)
        case Pad():
            c_type = "tesla_pad_t"
            sizes = (f".height = {source.shape[0]}", f".width = {source.shape[1]}")
            around = ("top", "bottom", "left", "right")
            fields = (*sizes, *(f".{side} = {getattr(op, side)}" for side in around))
        case Add() | Concat() | Rescale() | Softmax() | Logistic() | Reshape():
            return None
        case _:
            assert_never(op)
    return Initializer(c_type=c_type, name=f"{op.name}_layer", fields=fields)


def window_constants(model: Model, op: DepthwiseConv2D, c_type: str, *own: str) -> Initializer:
    """Of a layer's constants those of its window, with a kernel's own behind them."""
    layer = layer_constants(model, op)
    assert layer is not None
    window = tuple(field for field in layer.fields if field.startswith(".window"))
    return replace(layer, c_type=c_type, fields=(*window, *own))


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
