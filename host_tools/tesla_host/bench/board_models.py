"""The networks that every board runs in the matrix: random weights, the same everywhere.

Out: quantised models in three regions. No data and no training are needed: what is compared is
arithmetic. Two shapes, each with a smaller one for boards that it does not fit:

| name | what it is |
|---|---|
| `mlp` | 784-100-100-10, the paper's network for MNIST |
| `mlp-small` | 784-32-32-10 |
| `cnn` | 16x16x3; convolution, residual block, depthwise convolutions; 16, then 32 channels |
| `cnn-small` | the same on 8x8x3 with 4, then 8 channels |
"""

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from tesla_embed.ir.graph import Graph, Model, Region, Table, active_channels
from tesla_embed.ir.ops import (
    Activation,
    Add,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Mean,
    Op,
    Reshape,
    Weighted,
    Window,
)
from tesla_embed.ir.types import DType, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify

DPS = (25, 50, 100)
SMALLER = {"mlp": "mlp-small", "cnn": "cnn-small"}
"""What is tried where a model does not fit."""
_SEED = 20170
_CALIBRATION = 16
_CLASSES = 10
_RELU = Activation.RELU


@dataclass(slots=True)
class _Net:
    """A float network that grows; `scales` tells of each tensor whether its channels may."""

    name: str
    source: tuple[int, ...]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(_SEED))
    tensors: list[Tensor] = field(default_factory=list)
    scales: list[bool] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tensor("input", self.source, scales=False)

    @property
    def last(self) -> TensorType:
        return self.tensors[-1].type

    def dense(self, size: int, activation: Activation = _RELU) -> None:
        """A fully connected layer; the last one, without activation, does not scale."""
        weights = self._weights(size, self.last.size)
        op = FullyConnected(
            name=self._name("fc"), inputs=(0,), output=0, weights=weights, activation=activation
        )
        self._add(op, (size,), scales=activation is _RELU)

    def conv(self, channels: int, size: int = 3, activation: Activation = _RELU) -> None:
        """A convolution that keeps the image's size."""
        window = self._window(size, 1)
        weights = self._weights(channels, size, size, self.last.channels)
        op = Conv2D(
            name=self._name("conv"),
            inputs=(0,),
            output=0,
            weights=weights,
            window=window,
            activation=activation,
        )
        self._add(op, (*self.last.shape[:2], channels), scales=True)

    def depthwise(self, stride: int = 1) -> None:
        """A depthwise convolution of 3 by 3."""
        window = self._window(3, stride)
        weights = self._weights(self.last.channels, 3, 3)
        op = DepthwiseConv2D(
            name=self._name("dw"),
            inputs=(0,),
            output=0,
            weights=weights,
            window=window,
            activation=_RELU,
        )
        size = window.output_size(*self.last.shape[:2])
        self._add(op, (*size, self.last.channels), scales=True)

    def plus(self, other: int) -> None:
        """Add an earlier tensor of the same shape."""
        op = Add(name=self._name("add"), inputs=(0,), output=0, activation=_RELU)
        self._add(op, self.last.shape, scales=True, also=(other,))

    def flatten(self) -> None:
        """The mean over space, as a vector."""
        channels = self.last.channels
        self._add(Mean(name=self._name("mean"), inputs=(0,), output=0), (1, 1, channels))
        self._add(Reshape(name=self._name("flat"), inputs=(0,), output=0), (channels,))

    def model(self) -> Model:
        """The float model in all regions."""
        graph = Graph(
            tensors=tuple(self.tensors), ops=tuple(self.ops), input=0, output=len(self.ops)
        )
        regions = tuple(self._region(dp) for dp in DPS)
        return verify(Model(name=self.name, graph=graph, regions=regions))

    def _name(self, kind: str) -> str:
        return f"{kind}{len(self.ops)}"

    def _window(self, size: int, stride: int) -> Window:
        pad = size // 2
        return Window(
            height=size,
            width=size,
            stride_height=stride,
            stride_width=stride,
            pad_top=pad,
            pad_bottom=pad,
            pad_left=pad,
            pad_right=pad,
        )

    def _weights(self, *shape: int) -> Weights:
        spread = math.sqrt(2 / math.prod(shape[1:]))
        return Weights(data=self.rng.normal(0, spread, shape).astype(np.float32))

    def _add(
        self, op: Op, shape: tuple[int, ...], *, scales: bool = True, also: tuple[int, ...] = ()
    ) -> None:
        count = len(self.tensors)
        self.ops.append(dataclasses.replace(op, inputs=(count - 1, *also), output=count))
        self._tensor(op.name, shape, scales)

    def _tensor(self, name: str, shape: tuple[int, ...], scales: bool) -> None:
        type_ = TensorType(shape=shape, channels=shape[-1], dtype=DType.FLOAT32)
        self.tensors.append(Tensor(name=name, type=type_))
        self.scales.append(scales)

    def _region(self, dp: int) -> Region:
        types = []
        for tensor, scales in zip(self.tensors, self.scales, strict=True):
            full = tensor.type
            channels = active_channels(full.channels, dp) if scales else full.channels
            types.append(
                dataclasses.replace(full, shape=(*full.shape[:-1], channels), channels=channels)
            )
        tables: list[Table | None] = []
        for op in self.ops:
            bias = np.random.default_rng(op.output).normal(0, 0.2, types[op.output].channels)
            weighted = isinstance(op, Weighted)
            tables.append(Table(bias=bias.astype(np.float32)) if weighted else None)
        return Region(dp=dp, types=tuple(types), tables=tuple(tables))


def _mlp(name: str, hidden: int) -> _Net:
    net = _Net(name, (784,))
    net.dense(hidden)
    net.dense(hidden)
    net.dense(_CLASSES, Activation.NONE)
    return net


def _cnn(name: str, size: int, channels: int) -> _Net:
    net = _Net(name, (size, size, 3))
    net.conv(channels)
    start = len(net.tensors) - 1
    net.depthwise()
    net.conv(channels, 1, Activation.NONE)
    net.plus(start)
    net.depthwise(stride=2)
    net.conv(2 * channels, 1)
    net.flatten()
    net.dense(_CLASSES, Activation.NONE)
    return net


def board_model(name: str) -> Model:
    """The quantised model of a name (see above). Needs PyTorch, as all quantising does."""
    from tesla_embed.quant import calibrate, quantize

    nets = {
        "mlp": lambda: _mlp("mlp", 100),
        "mlp-small": lambda: _mlp("mlp_small", 32),
        "cnn": lambda: _cnn("cnn", 16, 16),
        "cnn-small": lambda: _cnn("cnn_small", 8, 4),
    }
    model = nets[name]().model()
    shape = (_CALIBRATION, *model.graph.tensors[model.graph.input].type.shape)
    inputs = np.random.default_rng(_SEED).normal(0, 1, shape).astype(np.float32)
    return quantize(model, calibrate(model, inputs))
