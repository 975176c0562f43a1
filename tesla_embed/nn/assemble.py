"""Translate the steps of a trained network, one by one, into operations of the representation.

In: a trace and the shape of one example. Out: `Assembly`, the float graph at full width and what
each region needs. Refuses, with `UnsupportedOp` that names layer and reason, whatever the
representation does not have, and with `ConfigError` weights beyond float32's range once folded.
"""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.ir.graph import Graph, Region, Table
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
    Window,
)
from tesla_embed.ir.types import DType, Tensor, TensorType, Weights
from tesla_embed.nn.fold import Floats, Folded
from tesla_embed.nn.layers import ChannelsFirst, IncompleteConv, IncompleteLinear
from tesla_embed.nn.norm import IncompleteBatchNorm
from tesla_embed.nn.steps import NOTHING, Kind, Pooling, Step, Trace
from tesla_embed.nn.windows import conv_window, pool_window

EXPORTABLE = (
    "Conv1d and Conv2d (plain or depthwise, dilated or not), Linear, batch norm of images or after "
    "a layer with weights, ReLU, ReLU6, Hardtanh(-1, 1), sigmoid, softmax, addition, concatenation "
    "of channels, max, average and adaptive average pools, the mean over space, and flattening"
)
_ACTIVATIONS = {
    "ReLU": Activation.RELU,
    "relu": Activation.RELU,
    "relu_": Activation.RELU,
    "ReLU6": Activation.RELU6,
    "relu6": Activation.RELU6,
    "Hardtanh(-1, 1)": Activation.RELU_N1_TO_1,
}


class _Ends(TypedDict):
    """What every operation is made with."""

    name: str
    inputs: tuple[int, ...]
    output: int


@dataclass(slots=True)
class Assembly:
    """The graph so far. `made[i]` is the tensor of step `i`; `folded[j]` belongs to `ops[j]`."""

    trace: Trace
    input_shape: tuple[int, ...]
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    folded: list[Folded | None] = field(default_factory=list)
    made: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        images = any(isinstance(step.module, ChannelsFirst) for step in self.trace.steps)
        shape = self.input_shape if images else (math.prod(self.input_shape),)
        if images and len(shape) == 2:  # a sequence is an image of one row
            shape = (1, *shape)
        self.tensors.append(Tensor(name="input", type=_floats(shape, shape[-1])))
        self.made[0] = 0
        for index in range(1, len(self.trace.steps)):
            self._add(index)

    def graph(self) -> Graph:
        """The graph at full width."""
        return Graph(
            tensors=tuple(self.tensors),
            ops=tuple(self.ops),
            input=0,
            output=self.made[self.trace.output],
        )

    def region(self, dp: int) -> Region:
        """Active shapes, biases and gains at `dp` percent."""
        types = [self.tensors[0].type]
        tables: list[Table | None] = []
        for op, folded in zip(self.ops, self.folded, strict=True):
            full, channels = self.tensors[op.output].type, types[op.input].channels
            table = None
            if folded is not None:
                channels = folded.target.width(dp)
                table = Table(bias=_single(folded.bias(dp)), gain=folded.gain(dp))
            elif isinstance(op, Concat):
                channels = sum(types[i].channels for i in op.inputs)
            flat = len(full.shape) == 1
            shape = (full.positions * channels,) if flat else (*full.shape[:2], channels)
            types.append(_floats(shape, channels))
            tables.append(table)
        return Region(dp=dp, types=tuple(types), tables=tuple(tables))

    def _add(self, index: int) -> None:
        """Translate step `index`, unless a step before it has taken it in."""
        step = self.trace.steps[index]
        if index in self.made:
            return
        source = self.made[step.inputs[0]]
        passes = step.kind is Kind.ELEMENTWISE and step.function in NOTHING
        flat = step.kind is Kind.FLATTEN and len(self.tensors[source].type.shape) == 1
        first = step.kind is Kind.REARRANGE and isinstance(step.module, ChannelsFirst)
        if passes or flat or (first and source == 0):
            self.made[index] = source
        elif step.kind is Kind.FLATTEN:
            self._flatten(index, step, source)
        elif len(self.tensors[source].type.shape) != self._rank(step):
            raise refusal(step, "images and sequences must pass ChannelsFirst first")
        elif step.kind is Kind.POOL and step.pooling:
            self._pool(index, step, step.pooling, source)
        elif isinstance(step.module, IncompleteConv | IncompleteLinear):
            self._weighted(index, step, step.module, source)
        elif isinstance(step.module, IncompleteBatchNorm):
            self._norm(index, step, step.module, source)
        elif step.kind is Kind.ADD:
            self._sum(index, step)
        elif step.kind is Kind.CONCAT:
            self._concatenation(index, step)
        else:
            self._elementwise(index, step, source)

    def _rank(self, step: Step) -> int:
        """Dimensions that the graph has for what a step reads: 1 for vectors, else 3."""
        return 1 if len(self.trace.steps[step.inputs[0]].shape) == 2 else 3

    def _ends(self, step: Step, *inputs: int) -> _Ends:
        """A name that no operation has yet, and the tensors of the next operation."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", step.name)[-50:]
        if not name[0].isalpha() or not name[0].isascii():
            name = f"layer_{name}"
        taken = {op.name for op in self.ops} | {"input"}
        free = next(n for n in (name, *(f"{name}_{i}" for i in range(2, 999))) if n not in taken)
        return _Ends(name=free, inputs=inputs, output=len(self.tensors))

    def _emit(self, op: Op, type_: TensorType, folded: Folded | None = None) -> int:
        self.ops.append(op)
        self.folded.append(folded)
        self.tensors.append(Tensor(name=op.name, type=type_))
        return op.output

    def _flatten(self, index: int, step: Step, source: int) -> None:
        type_ = self.tensors[source].type
        op = Reshape(**self._ends(step, source))
        self.made[index] = self._emit(op, _floats((type_.size,), type_.channels))

    def _pool(self, index: int, step: Step, pooling: Pooling, source: int) -> None:
        type_ = self.tensors[source].type
        if len(type_.shape) != 3:
            raise refusal(step, "only images can be pooled")
        op: Op
        if pooling.whole:
            op = Mean(**self._ends(step, source))
            size = (1, 1)
        else:
            window = pool_window(pooling)
            if pooling.odd == "count_include_pad":  # then the padding is part of the image
                source, window = self._pad_before(step, window, source)
            elif pooling.odd:
                raise refusal(step, f"{pooling.odd} cannot be represented")
            kind = AveragePool2D if pooling.average else MaxPool2D
            op = kind(**self._ends(step, source), window=window)
            size = window.output_size(*self.tensors[source].type.shape[:2])
        self.made[index] = self._emit(op, _floats((*size, type_.channels), type_.channels))
        if len(step.shape) == 2:  # a mean that keeps no dimensions
            self._flatten(index, step, self.made[index])

    def _pad_before(self, step: Step, window: Window, source: int) -> tuple[int, Window]:
        """Pad the image by an operation of its own; the window has nothing left to pad."""
        height, width, channels = self.tensors[source].type.shape
        op = Pad(
            **self._ends(step, source),
            top=window.pad_top,
            bottom=window.pad_bottom,
            left=window.pad_left,
            right=window.pad_right,
        )
        shape = (height + op.top + op.bottom, width + op.left + op.right, channels)
        bare = dataclasses.replace(window, pad_top=0, pad_bottom=0, pad_left=0, pad_right=0)
        return self._emit(op, _floats(shape, channels)), bare

    def _elementwise(self, index: int, step: Step, source: int) -> None:
        """Functions of single values, and softmax, that nothing before them has taken in."""
        op: Op
        if step.function in _ACTIVATIONS:
            activation = _ACTIVATIONS[step.function]
            op = Rescale(**self._ends(step, source), activation=activation)
        elif step.function in ("Sigmoid", "sigmoid"):
            op = Logistic(**self._ends(step, source))
        elif step.function in ("Softmax", "softmax") and len(step.shape) == 2:
            op = Softmax(**self._ends(step, source))
        else:
            raise refusal(step, "no operation for it yet")
        self.made[index] = self._emit(op, self.tensors[source].type)

    def _norm(self, index: int, step: Step, norm: IncompleteBatchNorm, source: int) -> None:
        """Batch norm that no layer takes in: a depthwise convolution with one tap of weight 1."""
        type_ = self.tensors[source].type
        if len(type_.shape) != 3:
            raise refusal(step, "batch norm of vectors must directly follow a layer with weights")
        _, activation, absorbed = self._followers(index, norms=False)
        folded = Folded(None, norm)
        op = DepthwiseConv2D(
            **self._ends(step, source),
            weights=Weights(data=_single(folded.weights())),
            window=Window(height=1, width=1),
            activation=activation,
        )
        self.made |= dict.fromkeys((index, *absorbed), self._emit(op, type_, folded))

    def _concatenation(self, index: int, step: Step) -> None:
        sources = [self.made[i] for i in step.inputs]
        types = [self.tensors[i].type for i in sources]
        if any(type_.channels != type_.shape[-1] for type_ in types):
            raise refusal(step, "flatten after concatenating, not before")
        channels = sum(type_.channels for type_ in types)
        axis = len(types[0].shape) - 1
        op = Concat(**self._ends(step, *sources), axis=axis)
        self.made[index] = self._emit(op, _floats((*types[0].shape[:axis], channels), channels))

    def _sum(self, index: int, step: Step) -> None:
        first, second = (self.made[i] for i in step.inputs)
        type_ = self.tensors[first].type
        if type_ != self.tensors[second].type:
            raise refusal(step, "its two sides differ in shape or in the order of their elements")
        _, activation, absorbed = self._followers(index, norms=False)
        op = Add(**self._ends(step, first, second), activation=activation)
        self.made |= dict.fromkeys((index, *absorbed), self._emit(op, type_))

    def _weighted(
        self, index: int, step: Step, layer: IncompleteConv | IncompleteLinear, source: int
    ) -> None:
        norm, activation, absorbed = self._followers(index)
        folded = Folded(layer, norm)
        ends = self._ends(step, source)
        shape: tuple[int, ...] = ()
        op: Op
        if isinstance(layer, IncompleteLinear):
            weights = Weights(data=_single(self._columns(folded.weights(), source)))
            op = FullyConnected(**ends, weights=weights, activation=activation)
        else:
            window = conv_window(layer)
            high, wide = window.reach
            if window.pad_bottom >= high or window.pad_right >= wide:
                source, window = self._pad_before(step, window, source)
                ends = self._ends(step, source)
            shape = window.output_size(*self.tensors[source].type.shape[:2])
            data = folded.weights().reshape(layer.outputs, -1, window.height, window.width)
            data = data.transpose(0, 2, 3, 1)
            if layer.depthwise:
                weights = Weights(data=_single(data[..., 0]))
                op = DepthwiseConv2D(**ends, weights=weights, window=window, activation=activation)
            else:
                weights = Weights(data=_single(data))
                op = Conv2D(**ends, weights=weights, window=window, activation=activation)
        target = self._emit(op, _floats((*shape, layer.outputs), layer.outputs), folded)
        self.made |= dict.fromkeys((index, *absorbed), target)

    def _columns(self, weight: Floats, source: int) -> Floats:
        """A flattened image is channels-first in PyTorch and channels-last in the graph."""
        type_ = self.tensors[source].type
        grouped = weight.reshape(len(weight), type_.channels, type_.positions)
        return grouped.transpose(0, 2, 1).reshape(weight.shape)

    def _followers(
        self, index: int, *, norms: bool = True
    ) -> tuple[IncompleteBatchNorm | None, Activation, list[int]]:
        """Batch norm and activation after a step that nothing else reads, and their steps."""
        norm: IncompleteBatchNorm | None = None
        absorbed: list[int] = []
        while index != self.trace.output and len(readers := self.trace.readers(index)) == 1:
            index = readers[0]
            step = self.trace.steps[index]
            if isinstance(step.module, IncompleteBatchNorm) and norm is None and norms:
                norm = step.module
                absorbed.append(index)
            elif step.function in _ACTIVATIONS:
                return norm, _ACTIVATIONS[step.function], [*absorbed, index]
            else:
                break
        return norm, Activation.NONE, absorbed


def refusal(step: Step, why: str) -> UnsupportedOp:
    """The error that names a step, why it cannot be exported, and what can."""
    article = "an" if step.function[0] in "aeiouAEIOU" else "a"
    return UnsupportedOp(
        f"layer {step.name} is {article} {step.function}{step.where}, which cannot be exported: "
        f"{why}; supported are {EXPORTABLE}"
    )


def _floats(shape: tuple[int, ...], channels: int) -> TensorType:
    return TensorType(shape=shape, channels=channels, dtype=DType.FLOAT32)


def _single(values: Floats) -> npt.NDArray[np.float32]:
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise ConfigError("folded weights exceed float32: the network has diverged; train it again")
    return np.ascontiguousarray(values, dtype=np.float32)
