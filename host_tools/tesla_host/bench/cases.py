"""The kernels that are measured: models of one operation with random weights.

All use a fixed seed; input zero point -128, output zero point -5, per-channel multipliers, no
activation, and output scales with which about one output in a hundred saturates.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Graph, Model, Region, Table, active_channels
from tesla_embed.ir.ops import (
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Mean,
    Op,
    Reshape,
    Weighted,
    Window,
)
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify
from tesla_host.bench.names import split_names

MEASURED = "layer"
"""The name of the operation that a case is about."""
DPS = (25, 50, 75, 100)
_SEED = 20170
_INPUT = Quantization(scale=2.0**-6, zero_point=-128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kernel on one shape; `scales` says whether its input has fewer channels in a region."""

    name: str
    source: tuple[int, ...]
    target: tuple[int, ...]
    make: Callable[[np.random.Generator], Op]
    scales: bool = True

    @property
    def shape(self) -> str:
        """Sizes of input and output."""
        return " -> ".join("x".join(map(str, sizes)) for sizes in (self.source, self.target))


def _weights(rng: np.random.Generator, *shape: int) -> Weights:
    data = rng.integers(-127, 128, shape).astype(np.int8)
    scale = rng.uniform(0.5, 1.0, shape[0]).astype(np.float32).astype(np.float64) / 128
    return Weights(data=data, scale=scale)


def _conv(name: str, size: int, inputs: int, outputs: int, *, scales: bool = True) -> Case:
    def make(rng: np.random.Generator) -> Op:
        window = Window(height=3, width=3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
        weights = _weights(rng, outputs, 3, 3, inputs)
        return Conv2D(name=MEASURED, inputs=(0,), output=1, weights=weights, window=window)

    shapes = ((size, size, inputs), (size, size, outputs))
    return Case(name=name, source=shapes[0], target=shapes[1], make=make, scales=scales)


def _pointwise(rng: np.random.Generator) -> Op:
    window = Window(height=1, width=1)
    weights = _weights(rng, 64, 1, 1, 64)
    return Conv2D(name=MEASURED, inputs=(0,), output=1, weights=weights, window=window)


def _dense(rng: np.random.Generator) -> Op:
    return FullyConnected(name=MEASURED, inputs=(0,), output=1, weights=_weights(rng, 128, 784))


def _depthwise(rng: np.random.Generator) -> Op:
    window = Window(height=3, width=3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
    weights = _weights(rng, 64, 3, 3)
    return DepthwiseConv2D(name=MEASURED, inputs=(0,), output=1, weights=weights, window=window)


def _pool(_: np.random.Generator) -> Op:
    window = Window(height=2, width=2, stride_height=2, stride_width=2)
    return MaxPool2D(name=MEASURED, inputs=(0,), output=1, window=window)


CASES = (
    _conv("conv3x3-16x16x32-32", 16, 32, 32),
    _conv("conv3x3-8x8x64-64", 8, 64, 64),
    _conv("conv3x3-32x32x3-32", 32, 3, 32, scales=False),
    Case(name="conv1x1-25x5x64-64", source=(25, 5, 64), target=(25, 5, 64), make=_pointwise),
    Case(name="fc-784-128", source=(784,), target=(128,), make=_dense),
    Case(name="dw3x3-25x5x64", source=(25, 5, 64), target=(25, 5, 64), make=_depthwise),
    Case(name="maxpool2x2-16x16x32", source=(16, 16, 32), target=(8, 8, 32), make=_pool),
)


def find_cases(names: str | None) -> tuple[Case, ...]:
    """The cases of a comma-separated list, or all. Raises `ConfigError` for an unknown name."""
    if names is None:
        return CASES
    known = {case.name: case for case in CASES}
    wanted = split_names(names)
    for name in wanted:
        if name not in known:
            raise ConfigError(f"{name!r} is no kernel to measure; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted)


def case_model(case: Case, dps: tuple[int, ...] = DPS, *, dense: bool = False) -> Model:
    """The model of a case, with a region for each DP percentage; `MEASURED` names its operation.

    Ends of a model never scale, so that small layers before and after make the channels and use
    them. With `dense` there must be one percentage, and the model is that region's stand-alone
    network: no channel beyond the active ones exists.
    """
    rng = np.random.default_rng(_SEED)
    op = case.make(rng)
    source, target = case.source, case.target
    if dense:
        source = (*source[:-1], _active(case, source[-1], dps[0]))
        target = (*target[:-1], active_channels(target[-1], dps[0]))
        op = _cut(op, source[-1], target[-1])
    chain = _Chain([Tensor(name="input", type=TensorType(shape=source, channels=source[-1]))])
    if case.scales:
        narrow = (*source[:-1], 1)
        chain = _Chain([Tensor(name="input", type=TensorType(shape=narrow, channels=1))])
        chain.add(_maker(rng, source), source)
    chain.add(op, target)
    if len(target) > 1:
        chain.add(Mean(name="mean", inputs=(0,), output=0), (1, 1, target[-1]))
        chain.add(Reshape(name="flat", inputs=(0,), output=0), target[-1:])
    last = _weights(rng, 1, target[-1])
    chain.add(FullyConnected(name="last", inputs=(0,), output=0, weights=last), (1,))
    graph = chain.graph()
    regions = tuple(_region(case, graph, 100 if dense else dp) for dp in dps)
    return verify(Model(name="kernel", graph=graph, regions=regions))


@dataclass(slots=True)
class _Chain:
    """A graph in which every operation reads what the one before it made."""

    tensors: list[Tensor]
    ops: list[Op] = field(default_factory=list)

    def add(self, op: Op, shape: tuple[int, ...]) -> None:
        count = len(self.tensors)
        self.ops.append(dataclasses.replace(op, inputs=(count - 1,), output=count))
        self.tensors.append(Tensor(name=op.name, type=TensorType(shape=shape, channels=shape[-1])))

    def graph(self) -> Graph:
        return Graph(
            tensors=tuple(self.tensors), ops=tuple(self.ops), input=0, output=len(self.ops)
        )


def _maker(rng: np.random.Generator, shape: tuple[int, ...]) -> Op:
    """What makes `shape` out of one channel."""
    weights = _weights(rng, shape[-1], *([1] * (len(shape) if len(shape) > 1 else 1)))
    if len(shape) == 1:
        return FullyConnected(name="first", inputs=(0,), output=0, weights=weights)
    window = Window(height=1, width=1)
    return Conv2D(name="first", inputs=(0,), output=0, weights=weights, window=window)


def _active(case: Case, channels: int, dp: int) -> int:
    return active_channels(channels, dp) if case.scales else channels


def _cut(op: Op, inputs: int, outputs: int) -> Op:
    """The operation for fewer channels, with the leading weights."""
    if not isinstance(op, Weighted):
        return op
    data, scale = op.weights.data[:outputs], op.weights.scale
    assert scale is not None
    if not isinstance(op, DepthwiseConv2D):
        data = data[..., :inputs]
    weights = Weights(data=np.ascontiguousarray(data), scale=scale[:outputs].copy())
    return dataclasses.replace(op, weights=weights)


def _region(case: Case, graph: Graph, dp: int) -> Region:
    """Every tensor but the ends has its share of channels; scales follow from the weights."""
    types: list[TensorType] = []
    tables: list[Table | None] = []
    for index, tensor in enumerate(graph.tensors):
        channels = tensor.type.channels
        if 0 < index < graph.output:
            channels = active_channels(channels, dp)
        shape = (*tensor.type.shape[:-1], channels)
        types.append(TensorType(shape=shape, channels=channels, quantization=_INPUT))
    for op in graph.ops:
        tables.append(_table(op, types[op.output].channels))
        if op.name == MEASURED and isinstance(op, Weighted):
            # Of a sum of products of uniform inputs and weights, a little more than one sigma.
            spread = _INPUT.scale * 2.0**-7 * 8000.0 * np.sqrt(op.weights.data[0].size) / 60
            exit_ = Quantization(scale=float(np.float32(spread)), zero_point=-5)
            types[op.output] = dataclasses.replace(types[op.output], quantization=exit_)
        elif isinstance(op, Reshape | MaxPool2D):
            passed = types[op.input].quantization
            types[op.output] = dataclasses.replace(types[op.output], quantization=passed)
    return Region(dp=dp, types=tuple(types), tables=tuple(tables))


def _table(op: Op, channels: int) -> Table | None:
    if not isinstance(op, Weighted):
        return None
    scale = op.weights.scale
    assert scale is not None
    bias = np.random.default_rng(_SEED + 1).integers(-2000, 2001, len(scale)).astype(np.int32)
    return Table(bias=bias[:channels].copy(), weight_scale=scale[:channels].copy())
