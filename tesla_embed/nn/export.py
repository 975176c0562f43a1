"""From a trained network to a float model of the intermediate representation.

In: a `Network` and the DP percentages to support. Out: a float32 `Model` with one region each;
profiles and batch norm are folded into weights, biases and per-region gains in float64. Refuses,
with `UnsupportedOp`, operations that the representation does not have, and with `ConfigError`
percentages out of range and names that are no C identifiers. A profile is folded where its equation
has it: Eq. 1 into the consumer's columns, Eq. 2 into the producer's rows.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.ir.graph import Graph, Model, Provenance, Region, Table
from tesla_embed.ir.ops import (
    Activation,
    AveragePool2D,
    Conv2D,
    FullyConnected,
    MaxPool2D,
    Op,
    Reshape,
)
from tesla_embed.ir.types import DType, Tensor, TensorType, Weights
from tesla_embed.ir.verify import IDENTIFIER
from tesla_embed.nn.copies import refuse_copies
from tesla_embed.nn.fold import Floats, Folded
from tesla_embed.nn.layers import ChannelsFirst, IncompleteConv2d, IncompleteLinear
from tesla_embed.nn.networks import Network
from tesla_embed.nn.norm import IncompleteBatchNorm
from tesla_embed.nn.steps import Kind, Step, Trace, trace
from tesla_embed.nn.windows import conv_window, pool_window

EXPORTABLE = (
    "Conv2d and Linear with batch norm and ReLU or ReLU6 after them, max, average and adaptive "
    "average pools, the mean over space, and flattening"
)
_ACTIVATIONS = {
    "ReLU": Activation.RELU,
    "relu": Activation.RELU,
    "relu_": Activation.RELU,
    "ReLU6": Activation.RELU6,
    "relu6": Activation.RELU6,
}
_NOTHING = frozenset(
    ("Identity", "Dropout", "Dropout1d", "Dropout2d", "dropout", "dropout2d", "contiguous")
)
"""Elementwise functions that do nothing in inference."""


def to_model(
    network: Network, name: str, dps: Sequence[int], provenance: Provenance | None = None
) -> Model:
    """Export `network` as the float model `name` with a region for each of `dps` (percent).

    Weights are `[out, in]` and `[out, height, width, in]`; the input tensor is `(H, W, C)` for
    networks of images and the flat vector otherwise. Raises `ConfigError` for bad names or
    percentages and `UnsupportedOp` for operations that cannot be exported.
    """
    if not IDENTIFIER.fullmatch(name):
        raise ConfigError(
            f"model name {name!r} is no C identifier of at most 63 characters; use letters, "
            "digits and _, a letter first"
        )
    if not dps or not all(1 <= dp <= 100 for dp in dps):
        raise ConfigError(f"regions {list(dps)} are out of range; give DP percentages 1 to 100")
    refuse_copies(network)
    first = next(network.parameters())
    example = torch.zeros(2, *network.input_shape, device=first.device, dtype=first.dtype)
    builder = _Builder(trace(network.body, example), network.input_shape)
    for index in range(1, len(builder.trace.steps)):
        builder.add(index)
    graph = Graph(
        tensors=tuple(builder.tensors),
        ops=tuple(builder.ops),
        input=0,
        output=builder.made[builder.trace.output],
    )
    return Model(
        name=name,
        graph=graph,
        regions=tuple(builder.region(dp) for dp in sorted(set(dps))),
        provenance=provenance or Provenance(),
    )


@dataclass(slots=True)
class _Builder:
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
        self.tensors.append(Tensor(name="input", type=_floats(shape, shape[-1])))
        self.made[0] = 0

    def add(self, index: int) -> None:
        """Translate step `index`, unless a step before it has taken it in."""
        step = self.trace.steps[index]
        if index in self.made:
            return
        source = self.made[step.inputs[0]]
        passes = step.kind is Kind.ELEMENTWISE and step.function in _NOTHING
        flat = step.kind is Kind.FLATTEN and len(self.tensors[source].type.shape) == 1
        first = step.kind is Kind.REARRANGE and isinstance(step.module, ChannelsFirst)
        if passes or flat or (first and source == 0):
            self.made[index] = source
        elif step.kind is Kind.FLATTEN:
            self._flatten(index, step, source)
        elif len(self.tensors[source].type.shape) != self._rank(step) - 1:
            raise _refusal(step, "images must pass ChannelsFirst first")
        elif step.kind is Kind.POOL and step.pooling and len(step.pooling.kernel) != 1:
            self._pool(index, step, source)
        elif isinstance(step.module, IncompleteConv2d | IncompleteLinear):
            self._weighted(index, step, step.module, source)
        else:
            raise _refusal(step, _REASONS.get(step.kind, "no operation for it yet"))

    def _rank(self, step: Step) -> int:
        return len(self.trace.steps[step.inputs[0]].shape)

    def _emit(self, op: Op, type_: TensorType, folded: Folded | None = None) -> int:
        self.ops.append(op)
        self.folded.append(folded)
        self.tensors.append(Tensor(name=op.name, type=type_))
        return len(self.tensors) - 1

    def _name(self, step: Step) -> str:
        """A C identifier that no operation has yet."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", step.name)[-50:]
        if not name[0].isalpha() or not name[0].isascii():
            name = f"layer_{name}"
        taken = {op.name for op in self.ops} | {"input"}
        return next(n for n in (name, *(f"{name}_{i}" for i in range(2, 999))) if n not in taken)

    def _flatten(self, index: int, step: Step, source: int) -> None:
        type_ = self.tensors[source].type
        op = Reshape(name=self._name(step), input=source, output=len(self.tensors))
        self.made[index] = self._emit(op, _floats((type_.size,), type_.channels))

    def _pool(self, index: int, step: Step, source: int) -> None:
        assert step.pooling is not None
        type_ = self.tensors[source].type
        if step.pooling.odd:
            raise _refusal(step, f"{step.pooling.odd} cannot be represented")
        if len(type_.shape) != 3:
            raise _refusal(step, "only images can be pooled")
        window = pool_window(step.pooling, type_.shape[0], type_.shape[1])
        kind = AveragePool2D if step.pooling.average else MaxPool2D
        op = kind(name=self._name(step), input=source, output=len(self.tensors), window=window)
        size = window.output_size(*type_.shape[:2])
        self.made[index] = self._emit(op, _floats((*size, type_.channels), type_.channels))
        if len(step.shape) == 2:  # a mean that keeps no dimensions
            self._flatten(index, step, self.made[index])

    def _weighted(
        self, index: int, step: Step, layer: IncompleteConv2d | IncompleteLinear, source: int
    ) -> None:
        norm, activation, absorbed = self._followers(index)
        folded = Folded(layer, norm)
        name, target = self._name(step), len(self.tensors)
        op: Op
        shape: tuple[int, ...] = ()
        if isinstance(layer, IncompleteConv2d):
            if layer.depthwise or any(d != 1 for d in layer.dilation):
                kind = "depthwise" if layer.depthwise else "dilated"
                raise _refusal(step, f"{kind} convolutions have no operation yet")
            window = conv_window(layer)
            if window.pad_bottom >= window.height or window.pad_right >= window.width:
                raise _refusal(step, "padding must be smaller than the kernel")
            shape = window.output_size(*self.tensors[source].type.shape[:2])
            weights = Weights(data=_single(folded.weights().transpose(0, 2, 3, 1)))
            op = Conv2D(
                name=name, input=source, output=target, weights=weights, window=window,
                activation=activation,
            )  # fmt: skip
        else:
            weights = Weights(data=_single(self._columns(folded.weights(), source)))
            op = FullyConnected(
                name=name, input=source, output=target, weights=weights, activation=activation
            )
        type_ = _floats((*shape, layer.outputs), layer.outputs)
        self._emit(op, type_, folded)
        self.made |= dict.fromkeys((index, *absorbed), target)

    def _columns(self, weight: Floats, source: int) -> Floats:
        """A flattened image is channels-first in PyTorch and channels-last in the graph."""
        type_ = self.tensors[source].type
        grouped = weight.reshape(len(weight), type_.channels, type_.positions)
        return grouped.transpose(0, 2, 1).reshape(weight.shape)

    def _followers(self, index: int) -> tuple[IncompleteBatchNorm | None, Activation, list[int]]:
        """Batch norm and activation after a layer that nothing else reads, and their steps."""
        norm: IncompleteBatchNorm | None = None
        absorbed: list[int] = []
        while index != self.trace.output and len(readers := self.trace.readers(index)) == 1:
            index = readers[0]
            step = self.trace.steps[index]
            if isinstance(step.module, IncompleteBatchNorm) and norm is None:
                norm = step.module
                absorbed.append(index)
            elif step.function in _ACTIVATIONS:
                return norm, _ACTIVATIONS[step.function], [*absorbed, index]
            else:
                break
        return norm, Activation.NONE, absorbed

    def region(self, dp: int) -> Region:
        """Active shapes, biases and gains at `dp` percent."""
        types = [self.tensors[0].type]
        tables: list[Table | None] = []
        for op, folded in zip(self.ops, self.folded, strict=True):
            full, channels = self.tensors[op.output].type, types[op.input].channels
            table = None
            if folded is not None:
                channels = folded.layer.active_outputs(dp)
                table = Table(bias=_single(folded.bias(dp)), gain=folded.gain(dp))
            flat = len(full.shape) == 1
            shape = (full.positions * channels,) if flat else (*full.shape[:2], channels)
            types.append(_floats(shape, channels))
            tables.append(table)
        return Region(dp=dp, types=tuple(types), tables=tuple(tables))


_REASONS = {
    Kind.NORM: "batch norm must directly follow one convolution or fully connected layer",
    Kind.SOFTMAX: "leave it out: the largest logit wins either way",
    Kind.ELEMENTWISE: "only ReLU and ReLU6, directly after a layer with weights, can be fused",
}


def _refusal(step: Step, why: str) -> UnsupportedOp:
    article = "an" if step.function[0] in "aeiouAEIOU" else "a"
    return UnsupportedOp(
        f"layer {step.name} is {article} {step.function}{step.where}, which cannot be exported: "
        f"{why}; supported are {EXPORTABLE}"
    )


def _floats(shape: tuple[int, ...], channels: int) -> TensorType:
    return TensorType(shape=shape, channels=channels, dtype=DType.FLOAT32)


def _single(values: Floats) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)
