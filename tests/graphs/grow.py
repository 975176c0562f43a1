"""Random graphs that grow from their input, operation by operation."""

import math
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from tesla_embed.ir.graph import active_channels
from tesla_embed.ir.ops import (
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
from tesla_embed.ir.types import DType, Tensor, TensorType, Weights


@dataclass(frozen=True, slots=True)
class Cell:
    """Channels made together: `size` follow the percentage if `scalable`, each `times` over."""

    size: int
    scalable: bool = False
    times: int = 1

    def active(self, dp: int, multiple: int) -> int:
        wide = active_channels(self.size, dp, multiple) if self.scalable else self.size
        return wide * self.times


Cells = tuple[Cell, ...]


class Ends(TypedDict):
    name: str
    inputs: tuple[int, ...]
    output: int


@dataclass(slots=True)
class Builder:
    """A graph that grows from a random input; `at` is the tensor that the next operation reads."""

    rng: np.random.Generator
    portable: bool
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    cells: list[Cells] = field(default_factory=list)  # by tensor
    at: int = 0

    def begin(self, shape: tuple[int, ...]) -> None:
        type_ = TensorType(shape=shape, channels=shape[-1], dtype=DType.FLOAT32)
        self.tensors.append(Tensor(name="input", type=type_))
        self.cells.append((Cell(shape[-1]),))

    @property
    def last(self) -> TensorType:
        return self.tensors[self.at].type

    @property
    def scales(self) -> bool:
        """Whether the width of the present tensor follows the percentage."""
        return any(cell.scalable for cell in self.cells[self.at])

    def below(self, limit: int) -> int:  # 1 to `limit`
        return int(self.rng.integers(1, limit + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def ends(self, kind: str, *inputs: int) -> Ends:
        """Name, inputs (by default the present tensor) and output of the next operation."""
        return Ends(
            name=f"{kind}{len(self.ops)}", inputs=inputs or (self.at,), output=len(self.tensors)
        )

    def add(self, op: Op, shape: tuple[int, ...], cells: Cells) -> None:
        channels = sum(cell.size * cell.times for cell in cells)
        type_ = TensorType(shape=shape, channels=channels, dtype=DType.FLOAT32)
        self.ops.append(op)
        self.tensors.append(Tensor(name=op.name, type=type_))
        self.cells.append(cells)
        self.at = op.output

    def window(self, pool: bool = False, style: str = "") -> Window:
        """A random window for the present image; it fits unless its style is "valid"."""
        height, width = self.last.shape[:2]
        free = "valid" if pool and self.portable else "free"
        style = style or str(self.rng.choice(["valid", "same", free]))
        dilations = (1, 1) if pool or self.chance(0.7) else (self.below(3), self.below(3))
        rows, columns = self.below(4), self.below(4)
        if style == "valid" or pool:
            rows, columns = min(rows, height), min(columns, width)
        strides = (1, 1) if style == "keep" else (self.below(3), self.below(3))
        reach = [(n - 1) * d + 1 for n, d in zip((rows, columns), dilations, strict=True)]
        vertical = self._padding(style, height, reach[0], strides[0])
        horizontal = self._padding(style, width, reach[1], strides[1])
        return Window(
            height=rows,
            width=columns,
            stride_height=strides[0],
            stride_width=strides[1],
            dilation_height=dilations[0],
            dilation_width=dilations[1],
            pad_top=vertical[0],
            pad_bottom=vertical[1],
            pad_left=horizontal[0],
            pad_right=horizontal[1],
        )

    def _padding(self, style: str, length: int, reach: int, stride: int) -> tuple[int, int]:
        if style == "valid":
            return 0, 0
        if style in ("same", "keep"):
            total = max((-(-length // stride) - 1) * stride + reach - length, 0)
            return total // 2, total - total // 2
        before, after = (int(n) for n in self.rng.integers(0, reach, 2))
        return before, max(after, min(reach - 1, reach - length - before))

    def fits(self, window: Window) -> bool:
        return min(window.output_size(*self.last.shape[:2])) >= 1

    def conv(self, cell: Cell | None = None, style: str = "") -> None:
        window = self.window(style=style)
        if not self.fits(window):
            return
        cell = cell or Cell(self.below(9), self.chance(0.8))
        shape = (cell.size, window.height, window.width, self.last.channels)
        op = Conv2D(
            **self.ends("conv"),
            weights=self.weights(shape),
            window=window,
            activation=self.activation(),
        )
        self.add(op, (*window.output_size(*self.last.shape[:2]), cell.size), (cell,))

    def depthwise(self, style: str = "", multiplier: int = 1) -> None:
        window = self.window(style=style)
        if not self.fits(window):
            return
        made = tuple(
            Cell(cell.size, cell.scalable, cell.times * multiplier) for cell in self.cells[self.at]
        )
        outputs = self.last.channels * multiplier
        op = DepthwiseConv2D(
            **self.ends("depthwise"),
            weights=self.weights((outputs, window.height, window.width)),
            window=window,
            activation=self.activation(),
        )
        self.add(op, (*window.output_size(*self.last.shape[:2]), outputs), made)

    def pool(self, style: str = "", average: bool | None = None) -> None:
        window = self.window(pool=True, style=style)
        if not self.fits(window):
            return
        kind = AveragePool2D if self.chance(0.5) else MaxPool2D
        if average is not None:
            kind = AveragePool2D if average else MaxPool2D
        op = kind(**self.ends("pool"), window=window)
        size = window.output_size(*self.last.shape[:2])
        self.add(op, (*size, self.last.channels), self.cells[self.at])

    def reshape(self, shape: tuple[int, ...]) -> None:
        self.add(Reshape(**self.ends("reshape")), shape, self.cells[self.at])

    def fully_connected(self, scalable: bool, size: int | None = None) -> None:
        cell = Cell(size or self.below(12), scalable)
        op = FullyConnected(
            **self.ends("fc"),
            weights=self.weights((cell.size, self.last.size)),
            activation=self.activation(),
        )
        self.add(op, (cell.size,), (cell,))

    def sum(self, first: int, second: int) -> None:
        """Add two tensors of one type."""
        op = Add(**self.ends("add", first, second), activation=self.activation())
        self.add(op, self.tensors[first].type.shape, self.cells[first])

    def residual(self) -> None:
        """A branch of images that keeps its size, and an addition around it."""
        start = self.at
        cell = self.cells[start][-1]
        plain = len(self.cells[start]) == 1 and cell.times == 1
        for _ in range(self.below(2)):
            kind = self.rng.choice(["depthwise", "pool", "conv"])
            if kind == "conv":
                self.conv(style="keep")
            elif kind == "pool":
                self.pool(style="keep")
            else:
                self.depthwise(style="keep")
        if self.cells[self.at] != self.cells[start]:
            if not plain:
                return
            self.conv(cell, style="keep")
        sides = [start, self.at]
        self.rng.shuffle(sides)
        self.sum(*sides)

    def pad(self) -> None:
        top, bottom, left, right = (int(n) for n in self.rng.integers(0, 3, 4))
        op = Pad(**self.ends("pad"), top=top, bottom=bottom, left=left, right=right)
        height, width, channels = self.last.shape
        shape = (height + top + bottom, width + left + right, channels)
        self.add(op, shape, self.cells[self.at])

    def mean(self) -> None:
        self.add(Mean(**self.ends("mean")), (1, 1, self.last.channels), self.cells[self.at])

    def rescale(self) -> None:
        op = Rescale(**self.ends("rescale"), activation=self.activation())
        self.add(op, self.last.shape, self.cells[self.at])

    def softmax(self) -> None:
        self.add(Softmax(**self.ends("softmax")), self.last.shape, self.cells[self.at])

    def logistic(self) -> None:
        self.add(Logistic(**self.ends("logistic")), self.last.shape, self.cells[self.at])

    def concat(self) -> None:
        """Two or three branches of images, or of vectors, joined along a random axis."""
        start, image = self.at, len(self.last.shape) == 3
        branches = []
        for _ in range(1 + self.below(2)):
            self.at = start
            if not image:
                self.fully_connected(self.chance(0.7))
            elif self.chance(0.8):
                self.conv(style="keep")
            branches.append(self.at)
        axis = int(self.rng.integers(0, 3)) if image else 0
        if axis < 2 and image and len({self.cells[i] for i in branches}) > 1:
            axis = 2
        self.join(branches, axis)

    def join(self, branches: list[int], axis: int) -> None:
        """Concatenate tensors along an axis."""
        shapes = [self.tensors[i].type.shape for i in branches]
        last = axis == len(shapes[0]) - 1
        cells = tuple(cell for i in branches for cell in self.cells[i])
        length = sum(shape[axis] for shape in shapes)
        shape = (*shapes[0][:axis], length, *shapes[0][axis + 1 :])
        op = Concat(**self.ends("concat", *branches), axis=axis)
        self.add(op, shape, cells if last else self.cells[branches[0]])

    def weights(self, shape: tuple[int, ...]) -> Weights:
        """Normal weights; now and then a dead or a nearly dead channel."""
        data = self.rng.normal(0, 1 / math.sqrt(math.prod(shape[1:])), shape)
        fates = self.rng.choice([1.0, 0.0, 0.01], shape[0], p=[0.9, 0.04, 0.06])
        fates[0] = 1.0
        scaled = data * fates.reshape(-1, *(1 for _ in shape[1:]))
        return Weights(data=scaled.astype(np.float32))

    def activation(self) -> Activation:
        return Activation(str(self.rng.choice([a.value for a in Activation])))

    @property
    def weighted(self) -> bool:
        return any(isinstance(op, Weighted) for op in self.ops)
