"""One operating region as a stand-alone int8 `.tflite`, which any runtime can execute."""

import dataclasses
from collections.abc import Sequence
from typing import assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import UnsupportedOp
from tesla_embed.ir.graph import Graph, Model, Region, Table
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
    Weighted,
    Window,
)
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.specialize import specialize
from tesla_embed.ir.types import TensorType
from tesla_embed.tflite.builder import Builder
from tesla_embed.tflite.options import same_padding

_RESCALE = {
    Activation.NONE: ("QUANTIZE", 2),
    Activation.RELU: ("RELU", 2),
    Activation.RELU6: ("RELU6", 2),
    Activation.RELU_N1_TO_1: ("RELU_N1_TO_1", 1),
}
"""What an activation that stands alone is called, and in which version it takes int8."""


def to_tflite(model: Model, region: Region, *, batch: int = 1, all_layers: bool = False) -> bytes:
    """The flatbuffer of one region, for `batch` samples at a time.

    With `all_layers` every operation's output is an output of the model, in the graph's order;
    otherwise there is one. Raises `UnsupportedOp` for padding that TensorFlow Lite cannot express
    and scales that it refuses, `ToolchainError` if the `oracle` extra is missing.
    """
    dense = specialize(model, region)
    builder = Builder(batch)
    entry = dense.graph.tensors[dense.graph.input].type
    index = {dense.graph.input: builder.activation("input", entry)}
    for op, table in zip(dense.graph.ops, dense.regions[0].tables, strict=True):
        index[op.output] = builder.activation(op.name, dense.graph.tensors[op.output].type)
        _emit(builder, op, table, dense.graph, index)
    outputs = [index[op.output] for op in dense.graph.ops] if all_layers else []
    return builder.pack(index[dense.graph.input], outputs or [index[dense.graph.output]])


def _emit(
    builder: Builder,
    op: Op,
    table: Table | None,
    graph: Graph,
    index: dict[int, int],
) -> None:
    """Add one operation of a dense graph; `index` says where its tensors are in the file."""
    sources, target = [graph.tensors[i].type for i in op.inputs], graph.tensors[op.output].type
    inputs, y = [index[i] for i in op.inputs], index[op.output]
    source, x = sources[0], inputs[0]
    match op:
        case FullyConnected():
            options = builder.schema.FullyConnectedOptionsT()
            options.fusedActivationFunction = _activation(builder, op.activation)
            constants = _constants(builder, op, table, source, op.weights.data)
            _check_single_scale(op, table, source, target)
            builder.operator("FULLY_CONNECTED", 12, [x, *constants], y, options)
        case Conv2D() | DepthwiseConv2D():
            _convolution(builder, op, table, source, x, y)
        case MaxPool2D():
            _pool(builder, op, "MAX_POOL_2D", 2, source, x, y)
        case AveragePool2D():
            _pool(builder, op, "AVERAGE_POOL_2D", 2, source, x, y)
        case Reshape():
            _reshape(builder, op.name, x, y)
        case Softmax():
            _softmax(builder, x, y)
        case Logistic():
            builder.operator("LOGISTIC", 2, [x], y)
        case Mean():
            axes = builder.constant(f"{op.name}_axes", np.array([1, 2], np.int32))
            options = builder.schema.ReducerOptionsT()
            options.keepDims = True
            builder.operator("MEAN", 2, [x, axes], y, options)
        case Pad():
            _pad(builder, op.name, (op.top, op.bottom, op.left, op.right), x, y)
        case Concat():
            _concatenation(builder, op, sources, target, inputs, y)
        case Rescale():
            kind, version = _RESCALE[op.activation]
            builder.operator(kind, version, [x], y)
        case Add():
            options = builder.schema.AddOptionsT()
            options.fusedActivationFunction = _activation(builder, op.activation)
            options.potScaleInt16 = False
            builder.operator("ADD", 2, list(inputs), y, options)
        case _:
            assert_never(op)


def _softmax(builder: Builder, x: int, y: int) -> None:
    options = builder.schema.SoftmaxOptionsT()
    options.beta = 1.0
    builder.operator("SOFTMAX", 2, [x], y, options)


def _reshape(builder: Builder, name: str, x: int, y: int) -> None:
    shape = np.asarray(builder.tensors[y].shape, np.int32)
    options = builder.schema.ReshapeOptionsT()
    options.newShape = shape.tolist()
    shaped = [x, builder.constant(f"{name}_shape", shape)]
    builder.operator("RESHAPE", 1, shaped, y, options)


def _activation(builder: Builder, activation: Activation) -> int:
    value: int = getattr(builder.schema.ActivationFunctionType, activation.name)
    return value


def _constants(
    builder: Builder,
    op: Weighted,
    table: Table | None,
    source: TensorType,
    data: npt.NDArray[np.generic],
    axis: int = 0,
) -> list[int]:
    """Weights and biases; `axis` of `data` counts the output channels."""
    if table is None or table.weight_scale is None:
        raise UnsupportedOp(f"{op.name}: only quantised models can become a .tflite")
    bias_scale = quantization(source).scale * table.weight_scale
    return [
        builder.constant(f"{op.name}_weights", data, table.weight_scale, axis),
        builder.constant(f"{op.name}_bias", table.bias, bias_scale),
    ]


_BIAS_TOLERANCE = 0.02
"""Of an output step: how far LiteRT lets a bias's scale be from input scale times weight scale."""


def _check_single_scale(
    op: FullyConnected, table: Table | None, source: TensorType, target: TensorType
) -> None:
    """Refuse a layer of one output whose float32 bias scale LiteRT would call inconsistent.

    Where one unit of the sum is hundreds of thousands of output steps, half a step of float32 is
    more than LiteRT tolerates. It checks layers with one weight scale only.
    """
    if table is None or table.weight_scale is None or len(table.weight_scale) != 1:
        return
    product = quantization(source).scale * float(table.weight_scale[0])
    step = quantization(target).scale
    if abs(float(np.float32(product)) - product) > _BIAS_TOLERANCE * step:
        raise UnsupportedOp(
            f"{op.name}: a unit of its sum is {product / step:,.0f} steps of its output, of which "
            "LiteRT takes some 300,000 at most; its input or weights have an absurd scale"
        )


def _convolution(
    builder: Builder,
    op: Conv2D | DepthwiseConv2D,
    table: Table | None,
    source: TensorType,
    x: int,
    y: int,
) -> None:
    window = op.window
    padding, explicit = _padding(window, source)
    if explicit:
        x = _pad_before(builder, op.name, window, source, x)
    schema, data, axis = builder.schema, op.weights.data, 0
    depthwise = isinstance(op, DepthwiseConv2D)
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    if depthwise:
        options.depthMultiplier = len(data) // source.channels
        data, axis = data.transpose(1, 2, 0)[None], 3
    options.padding = getattr(schema.Padding, padding)
    options.strideH, options.strideW = window.stride_height, window.stride_width
    options.dilationHFactor, options.dilationWFactor = (
        window.dilation_height,
        window.dilation_width,
    )
    options.fusedActivationFunction = _activation(builder, op.activation)
    constants = _constants(builder, op, table, source, data, axis)
    builtin = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    builder.operator(builtin, 3, [x, *constants], y, options)


def _pool(
    builder: Builder,
    op: MaxPool2D | AveragePool2D,
    builtin: str,
    version: int,
    source: TensorType,
    x: int,
    y: int,
) -> None:
    padding, explicit = _padding(op.window, source)
    if explicit:
        raise UnsupportedOp(f"{op.name}: TensorFlow Lite pools pad 'same' or not at all")
    options = builder.schema.Pool2DOptionsT()
    options.padding = getattr(builder.schema.Padding, padding)
    options.strideH, options.strideW = op.window.stride_height, op.window.stride_width
    options.filterHeight, options.filterWidth = op.window.height, op.window.width
    builder.operator(builtin, version, [x], y, options)


def _padding(window: Window, source: TensorType) -> tuple[str, bool]:
    """TensorFlow's word for a window's padding, and whether an explicit PAD must come first."""
    pads = (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right)
    if not any(pads):
        return "VALID", False
    high, wide = window.reach
    height = same_padding(source.shape[0], high, window.stride_height)
    width = same_padding(source.shape[1], wide, window.stride_width)
    return ("SAME", False) if pads == (*height, *width) else ("VALID", True)


def _pad_before(builder: Builder, name: str, window: Window, source: TensorType, x: int) -> int:
    """Pad the input of an operation that cannot; the index of the padded tensor."""
    pads = (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right)
    height, width, channels = source.shape
    shape = (height + sum(pads[:2]), width + sum(pads[2:]), channels)
    padded = builder.activation(f"{name}_padded", dataclasses.replace(source, shape=shape))
    _pad(builder, name, pads, x, padded)
    return padded


def _pad(builder: Builder, name: str, pads: tuple[int, int, int, int], x: int, y: int) -> None:
    amounts = np.asarray([(0, 0), pads[:2], pads[2:], (0, 0)], np.int32)
    constant = builder.constant(f"{name}_padding", amounts)
    builder.operator("PAD", 1, [x, constant], y, builder.schema.PadOptionsT())


def _concatenation(
    builder: Builder,
    op: Concat,
    sources: Sequence[TensorType],
    target: TensorType,
    inputs: Sequence[int],
    y: int,
) -> None:
    """LiteRT joins int8 tensors of one quantisation only; the others are rescaled before."""
    pieces = []
    for number, (source, x) in enumerate(zip(sources, inputs, strict=True)):
        if source.quantization != target.quantization:
            rescaled = dataclasses.replace(source, quantization=target.quantization)
            made = builder.activation(f"{op.name}_rescaled{number}", rescaled)
            builder.operator("QUANTIZE", 2, [x], made)
            x = made
        pieces.append(x)
    options = builder.schema.ConcatenationOptionsT()
    options.axis = op.axis + 1
    builder.operator("CONCATENATION", 2, pieces, y, options)
