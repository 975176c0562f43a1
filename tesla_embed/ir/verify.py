"""The rules of the intermediate representation, checked between passes.

`verify(model)` returns the model untouched or raises `GraphError`, which names the offending
operation, tensor or region and says what the rule is.
"""

import math
import re
from typing import assert_never

import numpy as np

from tesla_embed.errors import GraphError
from tesla_embed.ir.fixedpoint import INT32_MAX, quantize_multiplier
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import (
    AveragePool2D,
    Conv2D,
    FullyConnected,
    MaxPool2D,
    Op,
    Reshape,
    Weighted,
    Window,
)
from tesla_embed.ir.requantization import rescale_factors
from tesla_embed.ir.specialize import active_weights
from tesla_embed.ir.types import DType, TensorType, Weights

MAX_ELEMENTS = 2**24
"""Largest tensor, in elements; far beyond any microcontroller, small enough never to overflow."""
MAX_DIMENSION = 65535
"""Largest dimension of a tensor: what the kernels' 16-bit sizes hold."""
MAX_WINDOW = 255
"""Largest window and stride, in pixels: what the kernels' 8-bit sizes hold."""
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
"""What names of models, tensors and operations must match, because C will see them."""


def verify(model: Model) -> Model:
    """Check every rule; return `model`. Raises `GraphError`."""
    _identifier("model", model.name)
    _structure(model.graph)
    for op in model.graph.ops:
        _operation(op, _types(model.graph)[op.input], _types(model.graph)[op.output])
    _liveness(model.graph)
    dps = [region.dp for region in model.regions]
    _require(bool(dps), "the model", "has no operating region")
    _require(dps == sorted(set(dps)), "the regions", f"do not ascend by DP percentage: {dps}")
    for region in model.regions:
        _region(model.graph, region)
    entries = {region.types[model.graph.input].quantization for region in model.regions}
    _require(len(entries) == 1, "the regions", "must all quantise the input the same way")
    return model


def _require(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise GraphError(f"{where}: {what}")


def _identifier(where: str, name: str) -> None:
    ok = IDENTIFIER.fullmatch(name) is not None
    _require(ok, where, f"the name {name!r} is no C identifier of at most 63 characters")


def _types(graph: Graph) -> tuple[TensorType, ...]:
    return tuple(tensor.type for tensor in graph.tensors)


def _structure(graph: Graph) -> None:
    """Names, indices, and single assignment in execution order."""
    for kind, names in (
        ("tensor", [tensor.name for tensor in graph.tensors]),
        ("operation", [op.name for op in graph.ops]),
    ):
        for name in names:
            _identifier(kind, name)
        _require(len(set(names)) == len(names), f"the {kind}s", "share a name")
    _require(bool(graph.ops), "the graph", "has no operation")
    count = len(graph.tensors)
    _require(0 <= graph.input < count, "the graph", f"input {graph.input} is no tensor")
    defined = {graph.input}
    for op in graph.ops:
        known = 0 <= op.input < count and 0 <= op.output < count
        _require(known, op.name, "refers to a tensor that does not exist")
        _require(op.input in defined, op.name, "reads a tensor before it is written")
        _require(op.output not in defined, op.name, "writes a tensor that is written already")
        defined.add(op.output)
    _require(graph.output == graph.ops[-1].output, "the graph", "must end in its output")
    _require(len(defined) == count, "the graph", "has a tensor that nothing writes")
    for tensor in graph.tensors:
        _tensor_type(tensor.name, tensor.type)


def _liveness(graph: Graph) -> None:
    """Everything that is computed serves the output, and the output is computed."""
    read = {op.input for op in graph.ops}
    for index, tensor in enumerate(graph.tensors):
        used = index in read or index == graph.output
        _require(used, tensor.name, "is written and never read")
    moved = {graph.input}
    for op in graph.ops:
        if isinstance(op, Reshape) and op.input in moved:
            moved.add(op.output)
    _require(graph.output not in moved, "the graph", "computes nothing: its output is its input")


def _tensor_type(name: str, type_: TensorType) -> None:
    sizes_ok = 1 <= len(type_.shape) <= 3 and all(1 <= n <= MAX_DIMENSION for n in type_.shape)
    _require(sizes_ok, name, f"shape {type_.shape} needs 1 to 3 dimensions of 1 to 65535")
    _require(type_.size <= MAX_ELEMENTS, name, f"has over {MAX_ELEMENTS} elements")
    divides = type_.channels >= 1 and type_.shape[-1] % type_.channels == 0
    _require(divides, name, f"{type_.channels} channels do not divide shape {type_.shape}")
    image_ok = len(type_.shape) == 1 or type_.channels == type_.shape[-1]
    _require(image_ok, name, f"an image's last dimension must be its {type_.channels} channels")
    _require(type_.dtype in (DType.INT8, DType.FLOAT32), name, "must be int8 or float32")
    if type_.quantization is None:
        return
    q = type_.quantization
    _require(type_.dtype is DType.INT8, name, f"{type_.dtype} cannot be quantised")
    scale_ok = math.isfinite(q.scale) and q.scale > 0 and _is_float32(np.float64(q.scale))
    _require(scale_ok, name, f"scale {q.scale} is no positive float32")
    _require(-128 <= q.zero_point <= 127, name, f"zero point {q.zero_point} is no int8")


def _operation(op: Op, source: TensorType, target: TensorType) -> None:
    """Shapes of an operation between full-width types."""
    _require(source.dtype is target.dtype, op.name, "cannot change the element type")
    expected: tuple[int, ...]
    match op:
        case FullyConnected():
            _weights(op, op.weights, 2)
            _require(len(source.shape) == 1, op.name, f"needs a vector, gets shape {source.shape}")
            out, columns = op.weights.data.shape
            _require(columns == source.size, op.name, f"needs {columns} inputs, gets {source.size}")
            expected = (out,)
        case Conv2D():
            _weights(op, op.weights, 4)
            out, height, width, inputs = op.weights.data.shape
            window = (op.window.height, op.window.width)
            _require((height, width) == window, op.name, "weights do not match the window")
            fits = inputs == source.channels
            _require(fits, op.name, f"needs {inputs} channels, gets {source.channels}")
            expected = (*_windowed(op.name, op.window, source), out)
        case MaxPool2D() | AveragePool2D():
            expected = (*_windowed(op.name, op.window, source), source.channels)
        case Reshape():
            _require(target.size == source.size, op.name, "changes the number of elements")
            _require(target.channels == source.channels, op.name, "changes the channels")
            expected = target.shape
        case _:
            assert_never(op)
    _require(target.shape == expected, op.name, f"makes {expected}, not {target.shape}")
    if not isinstance(op, Reshape):
        _require(target.channels == target.shape[-1], op.name, "output channels must be innermost")


def _weights(op: Weighted, weights: Weights, rank: int) -> None:
    data = weights.data
    _require(data.ndim == rank and data.size > 0, op.name, f"weights need {rank} dimensions")
    if data.dtype == np.float32:
        _require(weights.scale is None, op.name, "float weights have no scale")
        _require(bool(np.isfinite(data).all()), op.name, "weights are not finite")
        return
    _require(data.dtype == np.int8, op.name, f"weights are {data.dtype}, not int8 or float32")
    _require(bool((data != -128).all()), op.name, "int8 weights must lie in -127…127")
    _require(weights.scale is not None, op.name, "int8 weights need a scale")
    assert weights.scale is not None  # for the type checker
    _scale(op.name, weights.scale, len(data))


def _scale(name: str, scale: np.ndarray, count: int) -> None:
    _factors(name, "weight scales", scale, count)
    _require(_is_float32(scale), name, "weight scales must be float32, as in a .tflite")


def _factors(name: str, what: str, values: np.ndarray, count: int) -> None:
    fits = values.dtype == np.float64 and values.shape == (count,)
    _require(fits, name, f"needs {count} {what}")
    _require(bool((np.isfinite(values) & (values > 0)).all()), name, f"{what} must be positive")


def _is_float32(values: np.ndarray | np.float64) -> bool:
    """Whether float32 holds these float64 values exactly."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float32) == values).all())


def _windowed(name: str, window: Window, source: TensorType) -> tuple[int, int]:
    _require(len(source.shape) == 3, name, f"needs an image, gets shape {source.shape}")
    sizes = (window.height, window.width, window.stride_height, window.stride_width)
    _require(all(1 <= n <= MAX_WINDOW for n in sizes), name, "window and stride must be 1 to 255")
    pads = (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right)
    vertical = all(0 <= n < window.height for n in pads[:2])
    horizontal = all(0 <= n < window.width for n in pads[2:])
    _require(vertical and horizontal, name, "padding must be smaller than the window")
    rows, columns = window.output_size(source.shape[0], source.shape[1])
    _require(rows >= 1 and columns >= 1, name, f"window is larger than the image {source.shape}")
    return rows, columns


def _region(graph: Graph, region: Region) -> None:
    where = f"region {region.dp} %"
    _require(1 <= region.dp <= 100, where, "DP must be 1 to 100")
    _require(len(region.types) == len(graph.tensors), where, "needs a type for every tensor")
    _require(len(region.tables) == len(graph.ops), where, "needs a table entry for every operation")
    for tensor, active in zip(graph.tensors, region.types, strict=True):
        name = f"{where}, {tensor.name}"
        _tensor_type(name, active)
        full = tensor.type
        same = active.dtype is full.dtype and active.positions == full.positions
        _require(same and len(active.shape) == len(full.shape), name, "does not match the graph")
        _require(active.shape[:-1] == full.shape[:-1], name, "does not match the graph")
        _require(active.channels <= full.channels, name, "has more channels than the graph")
        quantized = (active.quantization is not None) == (active.dtype is DType.INT8)
        _require(quantized, name, "int8 activations need a quantisation")
    for end in (graph.input, graph.output):
        whole = region.types[end].channels == graph.tensors[end].type.channels
        _require(whole, f"{where}, {graph.tensors[end].name}", "input and output never scale")
    for op, table in zip(graph.ops, region.tables, strict=True):
        _region_operation(f"{where}, {op.name}", op, table, graph, region)


def _region_operation(
    where: str, op: Op, table: Table | None, graph: Graph, region: Region
) -> None:
    source, target = region.types[op.input], region.types[op.output]
    if isinstance(op, Weighted):
        if table is None:
            raise GraphError(f"{where}: has weights but no table")
        _table(where, op, table, graph, region)
        return
    _require(table is None, where, "has a table but no weights")
    _require(source.channels == target.channels, where, "cannot change the channels")
    same = source.quantization == target.quantization
    _require(same, where, "must keep the quantisation of its input")


def _table(where: str, op: Weighted, table: Table, graph: Graph, region: Region) -> None:
    source, target = region.types[op.input], region.types[op.output]
    count = target.channels
    _require(table.bias.shape == (count,), where, f"needs {count} biases")
    if source.dtype is DType.FLOAT32:
        float_ok = table.bias.dtype == np.float32 and table.weight_scale is None
        float_ok = float_ok and op.weights.data.dtype == np.float32
        _require(float_ok, where, "a float model needs float weights and biases, and no scales")
        if table.gain is not None:
            _factors(where, "gains", table.gain, count)
        return
    _require(table.gain is None, where, "an integer model has weight scales, and no gain")
    _require(op.weights.data.dtype == np.int8, where, "int8 activations need int8 weights")
    _require(table.bias.dtype == np.int32, where, "biases must be int32")
    if table.weight_scale is None:
        raise GraphError(f"{where}: needs weight scales")
    _scale(where, table.weight_scale, count)
    _accumulator(where, op, table, graph, region)


def _accumulator(where: str, op: Weighted, table: Table, graph: Graph, region: Region) -> None:
    """No input can overflow the int32 accumulator, nor its left shift, nor the offset after it."""
    source, target = region.types[op.input], region.types[op.output]
    data = active_weights(op, graph.tensors[op.input].type, source, target)
    sums = np.abs(data.reshape(len(data), -1).astype(np.int64)).sum(axis=1)
    worst = sums * 255 + np.abs(table.bias.astype(np.int64))
    _require(bool((worst <= INT32_MAX).all()), where, "the accumulator can overflow int32")
    with np.errstate(over="ignore"):
        factors = rescale_factors(source, target, table)
        fits = bool((factors < 2.0**30).all()) and bool(np.isfinite(factors).all())
    _require(fits, where, "the ratio of input, weight and output scales is out of range")
    shift = np.maximum(quantize_multiplier(factors).shift.astype(np.int64), 0)
    _require(bool((shift <= 30).all()), where, "the ratio of scales rounds up out of range")
    room = INT32_MAX - 128  # the output's zero point is added last
    _require(bool(((worst << shift) <= room).all()), where, "requantisation can overflow")
