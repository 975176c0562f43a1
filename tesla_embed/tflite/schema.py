"""What a `.tflite` file says, as frozen values: tensors, operators, constants.

In: the bytes of a file. Out: a `File` with its one subgraph. Refuses, with `GraphError`, damaged
files, and with `UnsupportedOp` files of several subgraphs. Numbers of fields, types and operators
are those of TensorFlow's `schema.fbs`, of which this is the part that inference needs.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import GraphError, UnsupportedOp
from tesla_embed.tflite.flatbuffer import Table, root

IDENTIFIER = b"TFL3"
NO_TENSOR = -1
"""Stands for an optional input that is left out."""

TYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool",
    7: "int16", 8: "complex64", 9: "int8", 10: "float64", 17: "int4", 18: "bfloat16",
}  # fmt: skip
_CONSTANTS = {"int8": "<i1", "int32": "<i4", "int64": "<i8", "float32": "<f4"}
"""Types of constants that are looked into."""
_MOST_DIMENSIONS = 8
"""Of a constant; no operator that is supported takes more than 4."""

CUSTOM = 32
OPERATORS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D",
    5: "DEPTH_TO_SPACE", 6: "DEQUANTIZE", 7: "EMBEDDING_LOOKUP", 9: "FULLY_CONNECTED",
    11: "L2_NORMALIZATION", 12: "L2_POOL_2D", 14: "LOGISTIC", 16: "LSTM", 17: "MAX_POOL_2D",
    18: "MUL", 19: "RELU", 20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE", 23: "RESIZE_BILINEAR",
    24: "RNN", 25: "SOFTMAX", 26: "SPACE_TO_DEPTH", 27: "SVDF", 28: "TANH", 34: "PAD",
    35: "UNIDIRECTIONAL_SEQUENCE_RNN", 36: "GATHER", 37: "BATCH_TO_SPACE_ND",
    38: "SPACE_TO_BATCH_ND", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE",
    44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 45: "STRIDED_SLICE", 47: "EXP", 49: "SPLIT",
    50: "LOG_SOFTMAX", 53: "CAST", 54: "PRELU", 55: "MAXIMUM", 56: "ARG_MAX", 57: "MINIMUM",
    59: "NEG", 60: "PADV2", 65: "SLICE", 66: "SIN", 67: "TRANSPOSE_CONV", 69: "TILE",
    70: "EXPAND_DIMS", 74: "SUM", 75: "SQRT", 76: "RSQRT", 77: "SHAPE", 78: "POW",
    82: "REDUCE_MAX", 83: "PACK", 88: "UNPACK", 97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU",
    99: "SQUARED_DIFFERENCE", 100: "MIRROR_PAD", 101: "ABS", 102: "SPLIT_V", 111: "ELU",
    114: "QUANTIZE", 117: "HARD_SWISH", 118: "IF", 119: "WHILE", 126: "BATCH_MATMUL",
    129: "CALL_ONCE", 142: "VAR_HANDLE", 143: "READ_VARIABLE", 144: "ASSIGN_VARIABLE",
    150: "GELU",
}  # fmt: skip
"""Names of the operators that are supported or likely to be met; others are named by number."""

_OPTIONS = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 2, "AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5,
    "FULLY_CONNECTED": 8, "SOFTMAX": 9, "CONCATENATION": 10, "ADD": 11, "RESHAPE": 17, "MEAN": 27,
}  # fmt: skip
"""The kinds of tables that hold the options of operators that have some."""

Constant = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class FileTensor:
    """`scale` and `zero_point` have no entry, one, or one for each slice along `axis`.

    `shape` may hold -1 for what the file leaves open. `constant` holds the values of weights and
    the like, `None` for activations and for types that no constant of ours has; `filled` says
    whether the file has values at all.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int
    constant: Constant | None
    filled: bool


@dataclass(frozen=True, slots=True)
class FileOperator:
    """`inputs` and `outputs` index the tensors; `options` is the operator's own table, if any.

    Operators whose options say nothing that we need have none.
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None


@dataclass(frozen=True, slots=True)
class File:
    """One subgraph; operators in the order of execution."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(data: bytes) -> File:
    """Parse a `.tflite` file. Raises `GraphError` and `UnsupportedOp`."""
    model = root(data, IDENTIFIER)
    graphs = model.tables(2)
    if len(graphs) != 1:
        raise UnsupportedOp(f"the file has {len(graphs)} subgraphs; only one is supported")
    graph = graphs[0]
    buffers = model.tables(4)
    kinds = [_kind(code) for code in model.tables(1)]
    tensors = tuple(_tensor(table, buffers) for table in graph.tables(0))
    count = len(tensors)
    operators = tuple(
        _operator(index, table, kinds, count) for index, table in enumerate(graph.tables(3))
    )
    inputs, outputs = (_indices(graph, field, count, "the graph") for field in (1, 2))
    if NO_TENSOR in (*inputs, *outputs):
        raise GraphError("an input or output of the graph is no tensor; the file is damaged")
    return File(tensors, operators, inputs, outputs)


def _kind(code: Table) -> str:
    # The older field has one byte; whichever is larger is meant.
    number = max(code.integer(0, "b"), code.integer(3, "i"))
    if number == CUSTOM:
        return f"CUSTOM ({code.text(1)[:80]!r})"
    return OPERATORS.get(number, f"built-in operator {number}")


def _operator(index: int, table: Table, kinds: list[str], tensors: int) -> FileOperator:
    code = table.integer(0, "I")
    if code >= len(kinds):
        raise GraphError(f"operator {index} has code {code} of {len(kinds)}; the file is damaged")
    kind = kinds[code]
    where = f"operator {index}, {kind},"
    options = table.table(4) if kind in _OPTIONS else None
    if options is not None and table.integer(3, "B") != _OPTIONS[kind]:
        raise GraphError(f"{where} has the options of another kind; the file is damaged")
    return FileOperator(
        index=index,
        kind=kind,
        inputs=_indices(table, 1, tensors, where),
        outputs=_indices(table, 2, tensors, where),
        options=options,
    )


def _indices(table: Table, field: int, tensors: int, where: str) -> tuple[int, ...]:
    values = table.integers(field)
    for value in values:
        if not NO_TENSOR <= value < tensors:
            raise GraphError(f"{where} names tensor {value} of {tensors}; the file is damaged")
    return values


def _tensor(table: Table, buffers: tuple[Table, ...]) -> FileTensor:
    name, number = table.text(3), table.integer(1, "b")
    dtype = TYPES.get(number, f"type {number}")
    shape = table.integers(0)
    content = _content(name, table.integer(2, "I"), buffers)
    if len(content) and table.table(6) is not None:
        raise UnsupportedOp(f"tensor {name!r} is stored sparsely; convert it without sparsity")
    scale, zero_point, axis = _quantization(name, table.table(4))
    constant = None
    if len(content) and dtype in _CONSTANTS:
        constant = _values(name, content, shape, dtype)
    return FileTensor(
        name=name,
        shape=shape,
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        axis=axis,
        constant=constant,
        filled=len(content) > 0,
    )


def _quantization(
    name: str, table: Table | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]:
    if table is None:
        return np.empty(0, np.float32), np.empty(0, np.int64), 0
    if table.integer(4, "B") != 0:
        raise UnsupportedOp(f"tensor {name!r} is quantised in a way of its own, not by scales")
    scale = table.array(2, "float32").astype(np.float32, copy=False)
    zero_point = table.array(3, "int64").astype(np.int64, copy=False)
    return scale, zero_point, table.integer(6, "i")


def _content(name: str, buffer: int, buffers: tuple[Table, ...]) -> Constant:
    if buffer >= len(buffers):
        raise GraphError(f"tensor {name!r} has buffer {buffer} of {len(buffers)}")
    if buffers[buffer].integer(1, "Q") > 1:
        raise UnsupportedOp(f"tensor {name!r} has its values outside the flatbuffer")
    return buffers[buffer].array(0, "uint8")


def _values(name: str, content: Constant, shape: tuple[int, ...], dtype: str) -> Constant:
    if len(shape) > _MOST_DIMENSIONS:  # NumPy itself has a limit, which depends on its version
        raise UnsupportedOp(f"tensor {name!r} is a constant of {len(shape)} dimensions")
    kind = np.dtype(_CONSTANTS[dtype])
    wanted = math.prod(shape) * kind.itemsize  # Python integers: they cannot overflow
    if any(size < 0 for size in shape) or wanted != len(content):
        raise GraphError(
            f"tensor {name!r} of shape {shape}, {dtype}, has {len(content)} bytes of values; "
            "the file is damaged"
        )
    return content.view(kind).reshape(shape)
