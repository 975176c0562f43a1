"""Which channels of a tensor are active in a region.

Usually the leading ones. What a concatenation makes consists of several parts, of which each keeps
its own leading channels. Nothing of this is stored: it follows from the graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Graph, Region
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
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Channels that are made together: of `full` of them the leading `active` are present."""

    full: int
    active: int


Parts = tuple[Part, ...]


def channel_parts(graph: Graph, region: Region) -> tuple[Parts, ...]:
    """For every tensor of the graph, the parts along its channels in a region."""
    found: dict[int, Parts] = {graph.input: (_whole(graph, region, graph.input),)}
    for op in graph.ops:
        found[op.output] = _made(op, graph, region, found)
    return tuple(found[index] for index in range(len(graph.tensors)))


def active_indices(parts: Sequence[Part]) -> npt.NDArray[np.intp]:
    """The places, among all channels, of those that are active."""
    pieces, start = [], 0
    for part in parts:
        pieces.append(np.arange(start, start + part.active))
        start += part.full
    return np.concatenate(pieces)


def joined(rows: Sequence[Parts]) -> tuple[Parts, ...]:
    """Per region the parts of a tensor, fewer where that says the same in all of them.

    A part that is whole in every region and the next one together have leading channels again.
    """
    merged: list[list[Part]] = [[] for _ in rows]
    for column in zip(*rows, strict=True):
        whole = all(done and done[-1].active == done[-1].full for done in merged)
        for done, part in zip(merged, column, strict=True):
            last = done.pop() if whole else Part(full=0, active=0)
            done.append(Part(full=last.full + part.full, active=last.active + part.active))
    return tuple(tuple(done) for done in merged)


def _whole(graph: Graph, region: Region, tensor: int) -> Part:
    return Part(full=graph.tensors[tensor].type.channels, active=region.types[tensor].channels)


def _made(op: Op, graph: Graph, region: Region, found: dict[int, Parts]) -> Parts:
    match op:
        case FullyConnected() | Conv2D():
            return (_whole(graph, region, op.output),)
        case DepthwiseConv2D():
            multiplier = len(op.weights.data) // graph.tensors[op.input].type.channels
            return tuple(
                Part(full=part.full * multiplier, active=part.active * multiplier)
                for part in found[op.input]
            )
        case Concat():
            if op.axis == len(graph.tensors[op.output].type.shape) - 1:
                return tuple(part for index in op.inputs for part in found[index])
            return found[op.input]
        case Reshape():
            kept = graph.tensors[op.input].type.channels == graph.tensors[op.output].type.channels
            return found[op.input] if kept else (_whole(graph, region, op.output),)
        case MaxPool2D() | AveragePool2D() | Mean() | Add() | Pad():
            return found[op.input]
        case Rescale() | Softmax() | Logistic():
            return found[op.input]
        case _:
            assert_never(op)
