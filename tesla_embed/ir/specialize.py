"""Cut one operating region out of a scalable model as a plain, dense graph.

This is what a region *means*: the interpreter runs it, the outside judge gets it as a .tflite, and
the C library, which strides over the one copy of the weights instead, must agree with it.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Model, Region, Table
from tesla_embed.ir.ops import Conv2D, FullyConnected, Op
from tesla_embed.ir.types import Tensor, TensorType, Weights


def specialize(model: Model, region: Region) -> Model:
    """A model whose graph is dense, at the active width of `region`, with that one region."""
    tensors = tuple(
        Tensor(name=tensor.name, type=type_)
        for tensor, type_ in zip(model.graph.tensors, region.types, strict=True)
    )
    ops = tuple(
        _narrow(op, table, model.graph.tensors[op.input].type, region)
        for op, table in zip(model.graph.ops, region.tables, strict=True)
    )
    graph = dataclasses.replace(model.graph, tensors=tensors, ops=ops)
    return dataclasses.replace(model, graph=graph, regions=(region,))


def active_weights(
    op: FullyConnected | Conv2D, full_input: TensorType, source: TensorType, target: TensorType
) -> npt.NDArray[np.generic]:
    """The part of the weights that a region uses, as a contiguous array of the same rank."""
    data = op.weights.data[: target.channels]
    if isinstance(op, Conv2D):
        return np.ascontiguousarray(data[..., : source.channels])
    grouped = data.reshape(len(data), full_input.positions, full_input.channels)
    return np.ascontiguousarray(grouped[..., : source.channels]).reshape(len(data), source.size)


def _narrow(op: Op, table: Table | None, full_input: TensorType, region: Region) -> Op:
    if not isinstance(op, FullyConnected | Conv2D) or table is None:
        return op
    data = active_weights(op, full_input, region.types[op.input], region.types[op.output])
    scale = table.weight_scale
    return dataclasses.replace(
        op, weights=Weights(data=data, scale=None if scale is None else scale.copy())
    )
