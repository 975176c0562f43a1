"""One operating region as a stand-alone int8 `.tflite`, which somebody else's runtime can execute.

Fully connected layers leave as 1x1 convolutions over a 1x1 image: LiteRT's reference convolution
requantises in integers, its fully connected kernel through floating point. Vectors are therefore
`[N, 1, 1, features]`, images `[N, height, width, channels]`.
Needs the `oracle` extra. The object API writes what TensorFlow's `schema.fbs` describes.
"""

from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ToolchainError, UnsupportedOp
from tesla_embed.ir.graph import Model, Region, Table
from tesla_embed.ir.ops import (
    Activation,
    AveragePool2D,
    Conv2D,
    FullyConnected,
    MaxPool2D,
    Op,
    Reshape,
    Weighted,
    Window,
)
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.specialize import specialize
from tesla_embed.ir.types import TensorType

FILE_IDENTIFIER = b"TFL3"
INSTALL = "pip install 'tesla-embed[oracle]'"


def to_tflite(model: Model, region: Region, *, batch: int = 1, all_layers: bool = False) -> bytes:
    """The flatbuffer of one region, for `batch` samples at a time.

    With `all_layers` every operation's output is an output of the model, in the graph's order;
    otherwise there is one. Raises `UnsupportedOp` for padding that TensorFlow Lite cannot express,
    `ToolchainError` if the `oracle` extra is missing.
    """
    dense = specialize(model, region)
    builder = _Builder(batch)
    entry = dense.graph.tensors[dense.graph.input].type
    index = {dense.graph.input: builder.activation("input", entry)}
    for op, table in zip(dense.graph.ops, dense.regions[0].tables, strict=True):
        source = dense.graph.tensors[op.input].type
        target = dense.graph.tensors[op.output].type
        index[op.output] = builder.activation(op.name, target)
        _emit(builder, op, table, source, index[op.input], index[op.output])
    outputs = [index[op.output] for op in dense.graph.ops] if all_layers else []
    return builder.pack(index[dense.graph.input], outputs or [index[dense.graph.output]])


class _Builder:
    """Collects tensors, buffers and operators, and packs them."""

    def __init__(self, batch: int) -> None:
        try:
            import flatbuffers
            from ai_edge_litert import schema_py_generated as schema
        except ImportError as error:
            raise ToolchainError(f"writing .tflite needs LiteRT; run: {INSTALL}") from error
        self.flatbuffers, self.schema, self.batch = flatbuffers, schema, batch
        self.buffers = [schema.BufferT()]  # buffer 0 is empty by convention
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[tuple[int, int]] = []

    def activation(self, name: str, type_: TensorType) -> int:
        """Add an int8 activation; return its index."""
        shape = type_.shape if len(type_.shape) == 3 else (1, 1, type_.size)
        q = quantization(type_)
        return self._tensor(
            name, (self.batch, *shape), self.schema.TensorType.INT8, 0, [q.scale], [q.zero_point]
        )

    def constant(
        self,
        name: str,
        data: npt.NDArray[np.generic],
        scale: npt.NDArray[np.float64] | None = None,
    ) -> int:
        """Add a constant, quantised symmetrically along axis 0 if it has scales."""
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.buffers.append(buffer)
        kind = {"int8": self.schema.TensorType.INT8, "int32": self.schema.TensorType.INT32}
        scales = [] if scale is None else scale.tolist()
        return self._tensor(
            name,
            data.shape,
            kind[data.dtype.name],
            len(self.buffers) - 1,
            scales,
            [0] * len(scales),
        )

    def operator(
        self, name: str, version: int, inputs: list[int], output: int, options: Any = None
    ) -> None:
        """Add an operator by its built-in name; `options` is the matching `...OptionsT`."""
        code = (getattr(self.schema.BuiltinOperator, name), version)
        if code not in self.codes:
            self.codes.append(code)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.operators.append(operator)

    def pack(self, source: int, outputs: list[int]) -> bytes:
        """The finished flatbuffer."""
        graph = self.schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = [source], outputs
        model = self.schema.ModelT()
        model.version, model.description = 3, "tesla-embed"
        model.subgraphs, model.buffers = [graph], self.buffers
        model.operatorCodes = [self._code(*code) for code in self.codes]
        builder = self.flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _code(self, builtin: int, version: int) -> Any:
        code = self.schema.OperatorCodeT()
        code.builtinCode, code.version = builtin, version
        code.deprecatedBuiltinCode = min(builtin, 127)
        return code

    def _tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        buffer: int,
        scale: list[float],
        zero: list[int],
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        if scale:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scale, zero
            tensor.quantization.quantizedDimension = 0
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _emit(
    builder: _Builder, op: Op, table: Table | None, source: TensorType, x: int, y: int
) -> None:
    match op:
        case FullyConnected():
            data = op.weights.data.reshape(len(op.weights.data), 1, 1, -1)
            _convolution(builder, op, data, table, Window(height=1, width=1), x, y, source)
        case Conv2D():
            _convolution(builder, op, op.weights.data, table, op.window, x, y, source)
        case MaxPool2D():
            _pool(builder, op, "MAX_POOL_2D", 2, source, x, y)
        case AveragePool2D():
            _pool(builder, op, "AVERAGE_POOL_2D", 2, source, x, y)
        case Reshape():
            shape = np.asarray(builder.tensors[y].shape, np.int32)
            options = builder.schema.ReshapeOptionsT()
            options.newShape = shape.tolist()
            inputs = [x, builder.constant(f"{op.name}_shape", shape)]
            builder.operator("RESHAPE", 1, inputs, y, options)
        case _:
            assert_never(op)


def _convolution(
    builder: _Builder,
    op: Weighted,
    data: npt.NDArray[np.generic],
    table: Table | None,
    window: Window,
    x: int,
    y: int,
    source: TensorType,
) -> None:
    if table is None or table.weight_scale is None:
        raise UnsupportedOp(f"{op.name}: only quantised models can become a .tflite")
    padding, explicit = _padding(window, source)
    if explicit:
        x = _pad(builder, op.name, window, source, x)
    options = builder.schema.Conv2DOptionsT()
    options.padding = getattr(builder.schema.Padding, padding)
    options.strideH, options.strideW = window.stride_height, window.stride_width
    options.dilationHFactor = options.dilationWFactor = 1
    kinds = {Activation.NONE: "NONE", Activation.RELU: "RELU", Activation.RELU6: "RELU6"}
    options.fusedActivationFunction = getattr(
        builder.schema.ActivationFunctionType, kinds[op.activation]
    )
    weights = builder.constant(f"{op.name}_weights", data, table.weight_scale)
    bias_scale = quantization(source).scale * table.weight_scale
    bias = builder.constant(f"{op.name}_bias", table.bias, bias_scale)
    builder.operator("CONV_2D", 3, [x, weights, bias], y, options)


def _pool(
    builder: _Builder,
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
    height = _same(source.shape[0], window.height, window.stride_height)
    width = _same(source.shape[1], window.width, window.stride_width)
    return ("SAME", False) if pads == (*height, *width) else ("VALID", True)


def _same(length: int, window: int, stride: int) -> tuple[int, int]:
    """Padding before and after along one axis that TensorFlow calls 'same'."""
    total = max((-(-length // stride) - 1) * stride + window - length, 0)
    return total // 2, total - total // 2


def _pad(builder: _Builder, name: str, window: Window, source: TensorType, x: int) -> int:
    rows = (window.pad_top, window.pad_bottom)
    columns = (window.pad_left, window.pad_right)
    pads = np.asarray([(0, 0), rows, columns, (0, 0)], np.int32)
    height, width, channels = source.shape
    shape = (height + sum(rows), width + sum(columns), channels)
    padded = TensorType(
        shape=shape, channels=channels, dtype=source.dtype, quantization=source.quantization
    )
    target = builder.activation(f"{name}_padded", padded)
    constant = builder.constant(f"{name}_padding", pads)
    builder.operator("PAD", 1, [x, constant], target, builder.schema.PadOptionsT())
    return target
