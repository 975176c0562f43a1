"""Collects the tensors, buffers and operators of a `.tflite` and packs them.

Vectors become `[N, features]`, images `[N, height, width, channels]`. Needs LiteRT (the `oracle`
extra) or TensorFlow. The object API writes what TensorFlow's `schema.fbs` describes.
"""

import importlib
import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.types import TensorType

FILE_IDENTIFIER = b"TFL3"
INSTALL = "pip install 'tesla-embed[oracle]'"
_SCHEMAS = ("ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated")
"""What may hold the object API; the first that is there is used."""


def object_api() -> tuple[Any, Any]:
    """The modules `flatbuffers` and the schema's. Raises `ToolchainError` where one is missing."""
    try:
        flatbuffers = importlib.import_module("flatbuffers")
    except ImportError as error:
        raise ToolchainError(f"writing .tflite needs flatbuffers; run: {INSTALL}") from error
    for name in _SCHEMAS:
        try:
            return flatbuffers, importlib.import_module(name)
        except ImportError:
            continue
    lacking = ""
    if importlib.util.find_spec("tflite_runtime") is not None:
        lacking = ": tflite_runtime runs such files and cannot write them"
    raise ToolchainError(f"writing .tflite needs LiteRT or TensorFlow{lacking}; run: {INSTALL}")


class Builder:
    """A `.tflite` in the making, for `batch` samples at a time.

    Raises `ToolchainError` if what writes them is missing.
    """

    def __init__(self, batch: int) -> None:
        (self.flatbuffers, schema), self.batch = object_api(), batch
        self.schema = schema
        self.buffers = [schema.BufferT()]  # buffer 0 is empty by convention
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[tuple[int, int]] = []

    def activation(self, name: str, type_: TensorType) -> int:
        """Add an int8 activation; return its index."""
        q, shape = quantization(type_), (self.batch, *type_.shape)
        return self._tensor(name, shape, self.schema.TensorType.INT8, 0, [q.scale], [q.zero_point])

    def constant(
        self,
        name: str,
        data: npt.NDArray[np.generic],
        scale: npt.NDArray[np.float64] | None = None,
        axis: int = 0,
    ) -> int:
        """Add a constant, quantised symmetrically along `axis` if it has scales."""
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
            axis,
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
        axis: int = 0,
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        if scale:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scale, zero
            tensor.quantization.quantizedDimension = axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1
