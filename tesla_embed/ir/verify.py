"""The rules of the intermediate representation, checked between passes.

`verify(model)` returns the model untouched or raises `GraphError`, which names the offending
operation, tensor or region and says what the rule is.
"""

import math
import re

import numpy as np

from tesla_embed.ir.graph import Graph, Model, Region
from tesla_embed.ir.ops import Reshape, Weighted
from tesla_embed.ir.parts import channel_parts, joined
from tesla_embed.ir.rules import require
from tesla_embed.ir.types import DType, TensorType
from tesla_embed.ir.verify_numbers import check_numbers, is_float32
from tesla_embed.ir.verify_shapes import check_shapes

MAX_ELEMENTS = 2**24
"""Largest tensor, in elements; far beyond any microcontroller, small enough never to overflow."""
MAX_OPS = 4096
"""Most operations; the time that planning takes grows with their square."""
MAX_DIMENSION = 65535
"""Largest dimension of a tensor: what the kernels' 16-bit sizes hold."""
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
"""What names of models, tensors and operations must match, because C will see them."""


def verify(model: Model) -> Model:
    """Check every rule; return `model`. Raises `GraphError`."""
    _identifier("model", model.name)
    _structure(model.graph)
    types = [tensor.type for tensor in model.graph.tensors]
    for op in model.graph.ops:
        check_shapes(op, [types[i] for i in op.inputs], types[op.output])
    _liveness(model.graph)
    dps = [region.dp for region in model.regions]
    require(bool(dps), "the model", "has no operating region")
    require(dps == sorted(set(dps)), "the regions", f"do not ascend by DP percentage: {dps}")
    for region in model.regions:
        _region(model.graph, region)
    _narrow_weights(model)
    entries = {region.types[model.graph.input].quantization for region in model.regions}
    require(len(entries) == 1, "the regions", "must all quantise the input the same way")
    return model


def _narrow_weights(model: Model) -> None:
    """Weights of four bits have kernels for active inputs that are the leading ones."""
    rows = [channel_parts(model.graph, region) for region in model.regions]
    for op in model.graph.ops:
        if isinstance(op, Weighted) and op.weights.bits != 8:
            leading = len(joined([row[op.input] for row in rows])[0]) == 1
            require(leading, op.name, "reads a concatenation, which needs weights of eight bits")


def _identifier(where: str, name: str) -> None:
    ok = IDENTIFIER.fullmatch(name) is not None
    require(ok, where, f"the name {name!r} is no C identifier of at most 63 characters")


def _structure(graph: Graph) -> None:
    """Names, indices, and single assignment in execution order."""
    require(bool(graph.ops), "the graph", "has no operation")
    require(len(graph.ops) <= MAX_OPS, "the graph", f"has over {MAX_OPS} operations")
    for kind, names in (
        ("tensor", [tensor.name for tensor in graph.tensors]),
        ("operation", [op.name for op in graph.ops]),
    ):
        for name in names:
            _identifier(kind, name)
        require(len(set(names)) == len(names), f"the {kind}s", "share a name")
    count = len(graph.tensors)
    require(0 <= graph.input < count, "the graph", f"input {graph.input} is no tensor")
    defined = {graph.input}
    for op in graph.ops:
        require(bool(op.inputs), op.name, "reads nothing")
        known = all(0 <= i < count for i in (*op.inputs, op.output))
        require(known, op.name, "refers to a tensor that does not exist")
        require(defined.issuperset(op.inputs), op.name, "reads a tensor before it is written")
        require(op.output not in defined, op.name, "writes a tensor that is written already")
        defined.add(op.output)
    require(graph.output == graph.ops[-1].output, "the graph", "must end in its output")
    require(len(defined) == count, "the graph", "has a tensor that nothing writes")
    for tensor in graph.tensors:
        _tensor_type(tensor.name, tensor.type)


def _liveness(graph: Graph) -> None:
    """Everything that is computed serves the output, and the output is computed."""
    read = {index for op in graph.ops for index in op.inputs}
    for index, tensor in enumerate(graph.tensors):
        used = index in read or index == graph.output
        require(used, tensor.name, "is written and never read")
    moved = {graph.input}
    for op in graph.ops:
        if isinstance(op, Reshape) and op.input in moved:
            moved.add(op.output)
    require(graph.output not in moved, "the graph", "computes nothing: its output is its input")


def _tensor_type(name: str, type_: TensorType) -> None:
    sizes_ok = 1 <= len(type_.shape) <= 3 and all(1 <= n <= MAX_DIMENSION for n in type_.shape)
    require(sizes_ok, name, f"shape {type_.shape} needs 1 to 3 dimensions of 1 to 65535")
    require(type_.size <= MAX_ELEMENTS, name, f"has over {MAX_ELEMENTS} elements")
    divides = type_.channels >= 1 and type_.shape[-1] % type_.channels == 0
    require(divides, name, f"{type_.channels} channels do not divide shape {type_.shape}")
    image_ok = len(type_.shape) == 1 or type_.channels == type_.shape[-1]
    require(image_ok, name, f"an image's last dimension must be its {type_.channels} channels")
    require(type_.dtype in (DType.INT8, DType.FLOAT32), name, "must be int8 or float32")
    if type_.quantization is None:
        return
    q = type_.quantization
    require(type_.dtype is DType.INT8, name, f"{type_.dtype} cannot be quantised")
    scale_ok = math.isfinite(q.scale) and q.scale > 0 and is_float32(np.float64(q.scale))
    require(scale_ok, name, f"scale {q.scale} is no positive float32")
    require(-128 <= q.zero_point <= 127, name, f"zero point {q.zero_point} is no int8")


def _region(graph: Graph, region: Region) -> None:
    where = f"region {region.dp} %"
    require(1 <= region.dp <= 100, where, "DP must be 1 to 100")
    require(len(region.types) == len(graph.tensors), where, "needs a type for every tensor")
    require(len(region.tables) == len(graph.ops), where, "needs a table entry for every operation")
    for tensor, active in zip(graph.tensors, region.types, strict=True):
        name = f"{where}, {tensor.name}"
        _tensor_type(name, active)
        full = tensor.type
        same = active.dtype is full.dtype and active.positions == full.positions
        require(same and len(active.shape) == len(full.shape), name, "does not match the graph")
        require(active.shape[:-1] == full.shape[:-1], name, "does not match the graph")
        require(active.channels <= full.channels, name, "has more channels than the graph")
        quantized = (active.quantization is not None) == (active.dtype is DType.INT8)
        require(quantized, name, "int8 activations need a quantisation")
    for end in (graph.input, graph.output):
        whole = region.types[end].channels == graph.tensors[end].type.channels
        require(whole, f"{where}, {graph.tensors[end].name}", "input and output never scale")
    parts = channel_parts(graph, region)
    for index, op in enumerate(graph.ops):
        check_numbers(f"{where}, {op.name}", index, graph, region, parts)
