"""Networks of random integers, put together layer by layer: what cost models are fitted to.

In: a random generator and layers, one after the other. Out: a verified model with regions. No data
set, no training and no PyTorch: scales are such that outputs fill int8 and few saturate.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Graph, Model, Region, Table, active_channels
from tesla_embed.ir.ops import (
    UNIT,
    Activation,
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
    Weighted,
    Window,
)
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify


@dataclass(frozen=True, slots=True)
class Cell:
    """Channels that are made together, and whether they follow the percentage."""

    size: int
    scalable: bool
    times: int = 1


Cells = tuple[Cell, ...]


class _Ends(TypedDict):
    name: str
    inputs: tuple[int, ...]
    output: int


@dataclass(slots=True)
class Sketch:
    """A network that grows; `at` is the tensor that the next layer reads."""

    rng: np.random.Generator
    shape: tuple[int, ...]
    tensors: list[Tensor] = field(default_factory=list)
    cells: list[Cells] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    scales: list[Quantization] = field(default_factory=list)
    at: int = 0
    bits: int = 8

    def __post_init__(self) -> None:
        type_ = TensorType(shape=self.shape, channels=self.shape[-1])
        self.tensors.append(Tensor(name="input", type=type_))
        self.cells.append((Cell(self.shape[-1], False),))
        self.scales.append(Quantization(scale=2.0**-6, zero_point=-3))

    @property
    def last(self) -> TensorType:
        """The type of the present tensor at full width."""
        return self.tensors[self.at].type

    def pick(self, *values: int) -> int:
        """One of some numbers."""
        return int(self.rng.choice(values))

    def up_to(self, most: int, least: int = 1) -> int:
        """A number from `least` to `most`."""
        return int(self.rng.integers(least, max(most, least) + 1))

    def conv(self, channels: int, window: Window, scalable: bool = True) -> None:
        """A convolution."""
        shape = (channels, window.height, window.width, self.last.channels)
        size = (*window.output_size(*self.last.shape[:2]), channels)
        weights, activation = self._weights(shape), self._activation()
        op = Conv2D(**self._ends(), weights=weights, window=window, activation=activation)
        self._weighted(op, size, (Cell(channels, scalable),), math.prod(shape[1:]))

    def depthwise(self, window: Window, multiplier: int = 1) -> None:
        """A depthwise convolution."""
        channels = self.last.channels * multiplier
        size = (*window.output_size(*self.last.shape[:2]), channels)
        weights = self._weights((channels, window.height, window.width))
        activation = self._activation()
        op = DepthwiseConv2D(**self._ends(), weights=weights, window=window, activation=activation)
        cells = tuple(Cell(c.size, c.scalable, c.times * multiplier) for c in self.cells[self.at])
        self._weighted(op, size, cells, window.height * window.width)

    def dense(self, size: int, scalable: bool = True, scale: float | None = None) -> None:
        """A fully connected layer, after an image too."""
        self.flatten()
        weights, activation = self._weights((size, self.last.size)), self._activation()
        activation = Activation.NONE if scale else activation
        op = FullyConnected(**self._ends(), weights=weights, activation=activation)
        self._weighted(op, (size,), (Cell(size, scalable),), self.last.size, scale)

    def flatten(self) -> None:
        """An image as a vector of groups."""
        if len(self.last.shape) > 1:
            self._plain(Reshape(**self._ends()), (self.last.size,))

    def pool(self, window: Window, average: bool) -> None:
        """An average or a maximum over windows."""
        size = (*window.output_size(*self.last.shape[:2]), self.last.channels)
        kind = AveragePool2D if average else MaxPool2D
        self._plain(kind(**self._ends(), window=window), size)

    def pad(self, top: int, bottom: int, left: int, right: int) -> None:
        """Zeros around the image."""
        height, width, channels = self.last.shape
        op = Pad(**self._ends(), top=top, bottom=bottom, left=left, right=right)
        self._plain(op, (height + top + bottom, width + left + right, channels))

    def mean(self) -> None:
        """The mean over all pixels."""
        scale = self.scales[self.at].scale * 0.7
        self._plain(Mean(**self._ends()), (1, 1, self.last.channels), scale)

    def rescale(self) -> None:
        """An activation that stands alone."""
        scale = self.scales[self.at].scale * float(self.rng.choice([0.45, 0.8, 1.7]))
        op = Rescale(**self._ends(), activation=self._activation())
        self._plain(op, self.last.shape, scale)

    def unit(self, op: type[Softmax] | type[Logistic]) -> None:
        """A softmax or a logistic function."""
        self._add(op(**self._ends()), self.last.shape, self.cells[self.at], UNIT)

    def add(self, first: int, second: int, share: float = 1.3) -> None:
        """The sum of two tensors of one shape; its scale is a share of the larger one."""
        scale = share * max(self.scales[i].scale for i in (first, second))
        op = Add(**self._ends(first, second), activation=self._activation())
        quantization = self._quantization(scale, op.activation)
        self._add(op, self.tensors[first].type.shape, self.cells[first], quantization)

    def join(self, branches: list[int], axis: int = 2) -> None:
        """A concatenation, in the scale of the first input now and then."""
        shapes = [self.tensors[i].type.shape for i in branches]
        axis = min(axis, len(shapes[0]) - 1)
        length = sum(shape[axis] for shape in shapes)
        shape = (*shapes[0][:axis], length, *shapes[0][axis + 1 :])
        last = axis == len(shape) - 1
        cells = (
            tuple(c for i in branches for c in self.cells[i]) if last else self.cells[branches[0]]
        )
        first = self.scales[branches[0]]
        most = max(self.scales[i].scale for i in branches)
        target = first if self.rng.random() < 0.5 else self._quantization(1.2 * most)
        self._add(Concat(**self._ends(*branches), axis=axis), shape, cells, target)

    def model(self, dps: tuple[int, ...], multiple: int = 1, name: str = "sketch") -> Model:
        """The network in regions of these percentages, its channels a multiple of a number."""
        if any(cell.scalable for cell in self.cells[self.at]):
            self.dense(3, scalable=False)
        graph = Graph(
            tensors=tuple(self.tensors), ops=tuple(self.ops), input=0, output=self.ops[-1].output
        )
        regions = tuple(self._region(dp, multiple) for dp in dps)
        return verify(Model(name=name, graph=graph, regions=regions))

    def _region(self, dp: int, multiple: int) -> Region:
        types = []
        for tensor, cells, scale in zip(self.tensors, self.cells, self.scales, strict=True):
            channels = sum(
                (active_channels(c.size, dp, multiple) if c.scalable else c.size) * c.times
                for c in cells
            )
            full = tensor.type
            flat = len(full.shape) == 1
            shape = (full.positions * channels,) if flat else (*full.shape[:2], channels)
            types.append(TensorType(shape=shape, channels=channels, quantization=scale))
        tables = tuple(
            _table(op, types[op.output].channels, self.cells[op.output], dp, multiple)
            for op in self.ops
        )
        return Region(dp=dp, types=tuple(types), tables=tables)

    def _ends(self, *inputs: int) -> "_Ends":
        return _Ends(
            name=f"layer{len(self.ops)}", inputs=inputs or (self.at,), output=len(self.tensors)
        )

    def _weights(self, shape: tuple[int, ...]) -> Weights:
        most = 127 if self.bits == 8 else 7
        spread = most / (3 if self.bits == 8 else 2)
        drawn = np.clip(np.rint(self.rng.normal(0, spread, shape)), -most, most)
        scale = _float32(self.rng.uniform(0.5, 1.0, shape[0]) / most)
        return Weights(data=drawn.astype(np.int8), scale=scale, bits=self.bits)

    def _activation(self) -> Activation:
        return Activation(str(self.rng.choice(["relu", "none", "relu6"], p=[0.7, 0.2, 0.1])))

    def _quantization(self, scale: float, act: Activation = Activation.NONE) -> Quantization:
        zero = -128 if act is not Activation.NONE and self.rng.random() < 0.8 else -5
        return Quantization(scale=float(np.float32(scale)), zero_point=zero)

    def _weighted(
        self,
        op: Weighted,
        shape: tuple[int, ...],
        cells: Cells,
        terms: int,
        scale: float | None = None,
    ) -> None:
        """A layer whose output's scale follows from the number of terms, or is given."""
        assert op.weights.scale is not None
        most = float(np.abs(op.weights.data).max()) or 1.0
        spread = max(float(op.weights.data.std()), most / 4) * float(op.weights.scale.mean())
        natural = self.scales[self.at].scale * spread * math.sqrt(terms)
        if scale is not None:
            factor = scale / natural
            weights = dataclasses.replace(op.weights, scale=_float32(op.weights.scale * factor))
            op, natural = dataclasses.replace(op, weights=weights), scale
        self._add(op, shape, cells, self._quantization(natural, op.activation))

    def _plain(self, op: Op, shape: tuple[int, ...], scale: float | None = None) -> None:
        kept = self.scales[self.at]
        target = kept if scale is None else self._quantization(scale)
        self._add(op, shape, self.cells[self.at], target)

    def _add(self, op: Op, shape: tuple[int, ...], cells: Cells, scale: Quantization) -> None:
        channels = sum(cell.size * cell.times for cell in cells)
        type_ = TensorType(shape=shape, channels=channels)
        self.ops.append(op)
        self.tensors.append(Tensor(name=op.name, type=type_))
        self.cells.append(cells)
        self.scales.append(scale)
        self.at = op.output


def _float32(scale: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scales as a .tflite holds them."""
    return scale.astype(np.float32).astype(np.float64)


def _table(op: Op, channels: int, cells: Cells, dp: int, multiple: int) -> Table | None:
    if not isinstance(op, Weighted) or op.weights.scale is None:
        return None
    places: list[int] = []
    start = 0
    for cell in cells:
        active = active_channels(cell.size, dp, multiple) if cell.scalable else cell.size
        places += range(start, start + active * cell.times)
        start += cell.size * cell.times
    bias = np.random.default_rng(len(op.weights.scale)).integers(-900, 901, start)
    return Table(bias=bias[places].astype(np.int32), weight_scale=op.weights.scale[places].copy())
