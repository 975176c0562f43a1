"""Cut one operating region out of a scalable model as a plain, dense graph.

This is what a region *means*: the interpreter runs it, the outside judge gets it as a .tflite, and
the C library, which strides over the one copy of the weights instead, must agree with it.
"""

import dataclasses
from typing import assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.ops import Conv2D, DepthwiseConv2D, FullyConnected, Weighted
from tesla_embed.ir.parts import Parts, active_indices, channel_parts
from tesla_embed.ir.types import Tensor, Weights


def specialize(model: Model, region: Region) -> Model:
    """A model whose graph is dense, at the active width of `region`, with that one region."""
    parts = channel_parts(model.graph, region)
    tensors = tuple(
        Tensor(name=tensor.name, type=type_)
        for tensor, type_ in zip(model.graph.tensors, region.types, strict=True)
    )
    ops = list(model.graph.ops)
    for index, (op, table) in enumerate(zip(ops, region.tables, strict=True)):
        if not isinstance(op, Weighted) or table is None:
            continue
        data = active_weights(op, parts[op.input], parts[op.output])
        scale = None if table.weight_scale is None else table.weight_scale.copy()
        weights = Weights(data=data, scale=scale, bits=op.weights.bits)
        ops[index] = dataclasses.replace(op, weights=weights)
    graph = dataclasses.replace(model.graph, tensors=tensors, ops=tuple(ops))
    return dataclasses.replace(model, graph=graph, regions=(region,))


def active_weights(op: Weighted, source: Parts, target: Parts) -> npt.NDArray[np.generic]:
    """The part of the weights that a region uses, as a contiguous array of the same rank.

    `source` and `target` are the parts of the operation's input and output.
    """
    data = op.weights.data[active_indices(target)]
    columns = active_indices(source)
    match op:
        case FullyConnected():
            channels = sum(part.full for part in source)
            grouped = data.reshape(len(data), -1, channels)[..., columns]
            return np.ascontiguousarray(grouped.reshape(len(data), -1))
        case Conv2D():
            return np.ascontiguousarray(data[..., columns])
        case DepthwiseConv2D():
            return np.ascontiguousarray(data)
        case _:
            assert_never(op)
