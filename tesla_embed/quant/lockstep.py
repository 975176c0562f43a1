"""The float and the quantised network side by side, operation by operation, in every region.

In: a float model, its quantised form, examples. Out: at each operation, what both networks feed it
in each region, the quantised one through all that was rounded before. What an operation becomes is
decided by whoever walks, with `advance`; only what is still to be read is kept.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tesla_embed.data import spread
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.interpret import apply_op
from tesla_embed.ir.interpret_float import apply_float
from tesla_embed.ir.ops import Op, Weighted
from tesla_embed.ir.parts import Parts, active_indices, channel_parts
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.specialize import active_weights, specialize
from tesla_embed.ir.types import TensorType

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]
_BYTES = 2**29
"""What the activations of all examples and regions may take."""
_BATCH = 64
"""Examples computed at a time; bounds the memory of unfolded convolutions."""


@dataclass(slots=True, eq=False)
class Lane:
    """One region: its dense float graph, and the values that are still to be read.

    `floats[i]` and `integers[i]` are tensor i, `[N, *active shape]`.
    """

    plain: Model
    region: Region
    parts: tuple[Parts, ...]
    floats: dict[int, Float32] = field(default_factory=dict)
    integers: dict[int, Int8] = field(default_factory=dict)

    @property
    def dp(self) -> int:
        """The region's DP percentage."""
        return self.region.dp

    def batches(self, tensor: int) -> Iterator[tuple[Float64, Float64]]:
        """Real values of a tensor in the float and in the quantised network, some at a time."""
        q = quantization(self.region.types[tensor])
        plain, integers = self.floats[tensor], self.integers[tensor]
        for start in range(0, len(plain), _BATCH):
            part = slice(start, start + _BATCH)
            real = (integers[part].astype(np.float64) - q.zero_point) * q.scale
            yield plain[part].astype(np.float64), real


class Lockstep:
    """Walks the operations of `model`, made from the float model `plain`, on some of `inputs`.

    `inputs` are `[N, *input shape]`; as many are used, evenly spread, as memory allows.
    """

    def __init__(self, plain: Model, model: Model, inputs: Float32) -> None:
        self.graph = model.graph
        self._last = _last_reads(model.graph)
        chosen = inputs[spread(len(inputs), _fitting(model))]
        entry = model.regions[0].types[model.graph.input]
        integers = quantize_input(entry, chosen)
        self.lanes = [
            Lane(
                specialize(plain, float_region),
                region,
                channel_parts(model.graph, region),
                {model.graph.input: chosen},
                {model.graph.input: integers},
            )
            for float_region, region in zip(plain.regions, model.regions, strict=True)
        ]

    def advance(self, index: int, op: Op, tables: Sequence[Table | None]) -> None:
        """Compute operation `index` in all regions, quantised as `op` with `tables` by region."""
        for lane, table in zip(self.lanes, tables, strict=True):
            lane.floats[op.output] = _float_output(lane, index)
            lane.integers[op.output] = integer_output(lane, op, table, lane.integers)
            for tensor in op.inputs:
                if self._last.get(tensor) == index:
                    lane.floats.pop(tensor, None)
                    lane.integers.pop(tensor, None)


def _float_output(lane: Lane, index: int) -> Float32:
    graph, table = lane.plain.graph, lane.plain.regions[0].tables[index]
    op = graph.ops[index]
    target = graph.tensors[op.output].type
    sources = [lane.floats[tensor] for tensor in op.inputs]
    pieces = [
        apply_float(op, table, target, [s[part].astype(np.float64) for s in sources]).astype(
            np.float32
        )
        for part in _parts(len(sources[0]))
    ]
    return np.concatenate(pieces)


def integer_output(lane: Lane, op: Op, table: Table | None, sources: Mapping[int, Int8]) -> Int8:
    """What `op`, of the scalable graph, makes of some tensors in the lane's region."""
    types: tuple[TensorType, ...] = lane.region.types
    if isinstance(op, Weighted):
        data = active_weights(op, lane.parts[op.input], lane.parts[op.output])
        scale = None if table is None else table.weight_scale
        op = dataclasses.replace(
            op, weights=dataclasses.replace(op.weights, data=data, scale=scale)
        )
    graph = lane.plain.graph
    tensors = tuple(
        dataclasses.replace(tensor, type=type_)
        for tensor, type_ in zip(graph.tensors, types, strict=True)
    )
    dense = dataclasses.replace(graph, tensors=tensors)
    count = len(sources[op.input])
    pieces = [
        apply_op(op, table, dense, {i: sources[i][part] for i in op.inputs})
        for part in _parts(count)
    ]
    return np.concatenate(pieces)


def _parts(count: int) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, count, _BATCH)]


def _last_reads(graph: Graph) -> dict[int, int]:
    """By tensor, the last operation that reads it; the output is kept."""
    last = {tensor: index for index, op in enumerate(graph.ops) for tensor in op.inputs}
    last.pop(graph.output, None)
    return last


def _fitting(model: Model) -> int:
    """How many examples fit in memory, all tensors that are alive at once in all regions."""
    widest = 0
    last = _last_reads(model.graph)
    for index, op in enumerate(model.graph.ops):
        made = {model.graph.input, *(other.output for other in model.graph.ops[: index + 1])}
        alive = {t for t in made if last.get(t, index) >= index} | {op.output}
        widest = max(widest, sum(region.types[t].size for region in model.regions for t in alive))
    return max(1, _BYTES // (5 * widest))


def active_columns(op: Weighted, source: Parts, full: int) -> npt.NDArray[np.intp]:
    """The places, in a full row of `full` weights, of those that the source's parts activate."""
    channels = sum(part.full for part in source)
    grid = np.arange(full).reshape(-1, channels)
    return grid[:, active_indices(source)].reshape(-1)
