"""Graph, operating regions, and the model that holds both.

One `Graph` at full width and a tuple of `Region`s describe a scalable network. Weights exist once,
in the graph. A region says how many leading channels of each activation are active, how
activations are quantised there, and brings the tables that follow from it.
"""

import base64
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError, GraphError
from tesla_embed.ir.ops import Conv2D, DepthwiseConv2D, FullyConnected, Op, Reshape, Weighted
from tesla_embed.ir.types import Tensor, TensorType


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Operations in the order they run, and the activations between them.

    `input` and `output` are indices into `tensors`; operations refer to tensors the same way.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    input: int
    output: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """What one weighted operation needs in one region, for its active output channels.

    `bias`: int32 in units of input scale times weight scale (float32 in a float model).
    `weight_scale`: float64, one per active output channel, or `None` in a float model. It usually
    repeats the leading entries of the weights' own scale; batch norm per region changes it.
    `gain`: what a float model has in its place, `y = activation(gain * (W x) + bias)`: positive
    float64, one per active output channel, or `None` for ones and in an integer model. Weights
    exist once, so whatever multiplies a channel differently in each region must stand beside them.
    """

    bias: npt.NDArray[np.generic]
    weight_scale: npt.NDArray[np.float64] | None = None
    gain: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self.bias.flags.writeable = False
        if self.weight_scale is not None:
            self.weight_scale.flags.writeable = False
        if self.gain is not None:
            self.gain.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One DP percentage a model supports.

    `types[i]` is the type of `graph.tensors[i]` here: the active shape and its quantisation.
    `tables[i]` belongs to `graph.ops[i]`; `None` for operations without weights.
    """

    dp: int
    types: tuple[TensorType, ...]
    tables: tuple[Table | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatAnswers:
    """Which test samples the float network got right at a DP percentage.

    `right` holds one bit per sample, in the order of the split, as NumPy packs them, in base64.
    """

    dp: int
    samples: int
    right: str

    @classmethod
    def of(cls, dp: int, correct: npt.NDArray[np.bool_]) -> "FloatAnswers":
        """Pack one truth value per sample."""
        bits = np.packbits(correct).tobytes()
        return cls(dp=dp, samples=len(correct), right=base64.b64encode(bits).decode())

    def accuracy(self, first: int) -> float:
        """Share of right answers among the `first` samples. Raises `GraphError` if damaged."""
        try:
            packed = np.frombuffer(base64.b64decode(self.right, validate=True), np.uint8)
        except ValueError as error:
            raise GraphError(f"the float answers at {self.dp} % DP are no base64") from error
        if not 0 < self.samples <= 8 * len(packed):
            raise GraphError(f"the float answers at {self.dp} % DP are not {self.samples} bits")
        return float(np.unpackbits(packed, count=self.samples)[:first].mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a model was made. Shown in reports; no part of the digest.

    `float_answers` are those to the test split whose fingerprint is `test_fingerprint`. As many
    training examples as `calibration_samples` says decided its scales; 0 where nobody knows.
    """

    tool_version: str = ""
    recipe: str = ""
    algorithm: str = ""
    profile: str = ""
    seed: int | None = None
    data: str = ""
    float_answers: tuple[FloatAnswers, ...] = ()
    test_fingerprint: str = ""
    calibration_samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A scalable network: what `quantize` writes, `generate` reads, and users keep.

    `name` is a C identifier. `regions` ascend by DP percentage and are never empty.
    """

    name: str
    graph: Graph
    regions: tuple[Region, ...]
    provenance: Provenance = Provenance()

    def region(self, dp: int) -> Region:
        """The region of a DP percentage; `ConfigError` lists what exists otherwise."""
        for region in self.regions:
            if region.dp == dp:
                return region
        known = ", ".join(str(region.dp) for region in self.regions)
        raise ConfigError(f"{dp} % DP is not a region of {self.name}; choose one of {known}")


def active_channels(channels: int, dp: int, multiple: int = 1) -> int:
    """How many of `channels` are active at `dp` percent: rounded up, to a multiple if asked.

    The paper keeps the leading x % of the terms (section 2.1) and leaves rounding open.
    """
    wanted = -(-channels * dp // 100)
    return min(channels, -(-wanted // multiple) * multiple)


def macs(op: Op, source: TensorType, target: TensorType) -> int:
    """Multiply-accumulates of an operation between tensors of these (active) types."""
    if not isinstance(op, Weighted):
        return 0
    match op:
        case FullyConnected():
            return target.size * source.size
        case Conv2D():
            return target.size * op.window.height * op.window.width * source.channels
        case DepthwiseConv2D():
            return target.size * op.window.height * op.window.width
        case _:
            assert_never(op)


def region_macs(graph: Graph, region: Region) -> tuple[int, ...]:
    """True multiply-accumulates of every operation in a region, padding counted in."""
    return tuple(macs(op, region.types[op.input], region.types[op.output]) for op in graph.ops)


def macs_fraction(graph: Graph, region: Region) -> float:
    """Share of all multiply-accumulates that a region needs; 1 where there are none."""
    full = full_macs(graph)
    return sum(region_macs(graph, region)) / full if full else 1.0


def computing_ops(graph: Graph) -> list[int]:
    """Indices of the operations that run code: all but reshapes."""
    return [i for i, op in enumerate(graph.ops) if not isinstance(op, Reshape)]


def full_macs(graph: Graph) -> int:
    """True multiply-accumulates of the whole graph at full width."""
    return sum(
        macs(op, graph.tensors[op.input].type, graph.tensors[op.output].type) for op in graph.ops
    )
