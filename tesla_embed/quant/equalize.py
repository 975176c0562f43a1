"""Cross-layer equalisation: move scale between a layer and the next before they are quantised.

A ReLU commutes with positive factors, so a channel may be multiplied by `a` where it is produced
and divided by `a` where it is consumed. A steep profile leaves late channels with tiny weights in
the consumer, which per-row int8 scales cannot see. With activation range `r` and largest consumer
weight `c` of a channel, `a = sqrt(c / r)` makes both `sqrt(r * c)`: neither the activation tensor
nor the weight rows starve. After Nagel et al., "Data-Free Quantization Through Weight Equalization
and Bias Correction", ICCV 2019, with ranges observed on data; the producer's own rows need no
part in it, since they have a scale each.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Graph, Model, Region
from tesla_embed.ir.interpret_float import float_activations
from tesla_embed.ir.ops import Activation, DepthwiseConv2D, Op, Passing, Weighted
from tesla_embed.ir.parts import active_indices, channel_parts
from tesla_embed.ir.types import Weights

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
_HOMOGENEOUS = (Activation.NONE, Activation.RELU)
"""Activations that commute with positive factors."""


def equalize(model: Model, inputs: Float32) -> Model:
    """The same float function with better balanced channels; `inputs` are `[N, *input shape]`."""
    pairs = list(_pairs(model.graph))
    if not pairs:
        return model
    largest = _channel_ranges(model, inputs)
    for producer, consumer in pairs:
        target = model.graph.ops[producer].output
        factors = _factors(model.graph, consumer, largest[target])
        model = _rescale(model, producer, consumer, factors)
    return model


def _pairs(graph: Graph) -> Iterator[tuple[int, int]]:
    """Weighted operations that feed exactly one other, through nothing but pools and reshapes."""
    readers: dict[int, list[int]] = {}
    for index, op in enumerate(graph.ops):
        for tensor in op.inputs:
            readers.setdefault(tensor, []).append(index)
    for index, op in enumerate(graph.ops):
        if not isinstance(op, Weighted) or op.activation not in _HOMOGENEOUS:
            continue
        follower: Op = op
        while len(followers := readers.get(follower.output, [])) == 1:
            follower = graph.ops[followers[0]]
            if isinstance(follower, Weighted):
                yield index, followers[0]
            if not isinstance(follower, Passing):
                break


def _channel_ranges(model: Model, inputs: Float32) -> list[Float64]:
    """For every tensor, the largest magnitude of each channel over all regions and samples."""
    largest = [np.zeros(tensor.type.channels) for tensor in model.graph.tensors]
    for region in model.regions:
        active = [active_indices(parts) for parts in channel_parts(model.graph, region)]
        for values in float_activations(model, region, inputs):
            for peak, places, value in zip(largest, active, values, strict=True):
                seen = np.abs(value.reshape(-1, len(places))).max(axis=0)
                peak[places] = np.maximum(peak[places], seen)
    return largest


def _factors(graph: Graph, consumer: int, ranges: Float64) -> Float64:
    """`sqrt(c / r)` per channel; 1 where a channel is dead at either end."""
    op = graph.ops[consumer]
    assert isinstance(op, Weighted)
    weights = np.abs(_by_channel(op, len(ranges))).max(axis=(0, 2))
    alive = (weights > 0) & (ranges > 0)
    return np.sqrt(np.where(alive, weights, 1.0) / np.where(alive, ranges, 1.0))


def _by_channel(op: Weighted, channels: int) -> Float64:
    """Weights as `[…, channels, …]`, by the input channel that they multiply."""
    data = op.weights.data.astype(np.float64)
    if isinstance(op, DepthwiseConv2D):
        return data.reshape(1, channels, -1)
    return data.reshape(-1, channels, 1)


def _rescale(model: Model, producer: int, consumer: int, factors: Float64) -> Model:
    """Multiply the producer's rows and biases, divide what the consumer multiplies them with."""
    ops = list(model.graph.ops)
    made, used = ops[producer], ops[consumer]
    assert isinstance(made, Weighted)
    assert isinstance(used, Weighted)
    rows = made.weights.data.astype(np.float64).reshape(len(factors), -1) * factors[:, None]
    columns = _by_channel(used, len(factors)) / factors[:, None]
    ops[producer] = dataclasses.replace(made, weights=_weights(rows, made))
    ops[consumer] = dataclasses.replace(used, weights=_weights(columns, used))
    graph = dataclasses.replace(model.graph, ops=tuple(ops))
    regions = tuple(_rescale_bias(graph, region, producer, factors) for region in model.regions)
    return dataclasses.replace(model, graph=graph, regions=regions)


def _weights(values: Float64, like: Weighted) -> Weights:
    return Weights(data=values.astype(np.float32).reshape(like.weights.data.shape))


def _rescale_bias(graph: Graph, region: Region, producer: int, factors: Float64) -> Region:
    tables = list(region.tables)
    table = tables[producer]
    assert table is not None
    places = active_indices(channel_parts(graph, region)[graph.ops[producer].output])
    bias = (table.bias.astype(np.float64) * factors[places]).astype(np.float32)
    tables[producer] = dataclasses.replace(table, bias=bias)
    return dataclasses.replace(region, tables=tuple(tables))
