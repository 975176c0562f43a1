"""From a trained network to a float model of the intermediate representation.

In: a `Network` and the DP percentages to support. Out: a float32 `Model` with one region each, the
profiles folded into weights and biases in float64. Refuses modules it does not know, percentages
out of range and names that are no C identifiers. A profile is folded where its equation has it:
Eq. 1 into the consumer's columns, Eq. 2 into the producer's rows.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor as TorchTensor
from torch import nn

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
    Window,
)
from tesla_embed.ir.types import DType, Tensor, TensorType, Weights
from tesla_embed.nn.copies import refuse_copies
from tesla_embed.nn.layers import IncompleteConv2d, IncompleteLinear
from tesla_embed.nn.networks import ChannelsFirst, Network

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Chain:
    """The graph so far. `layers[i]` made `ops[i]`; its folded bias at full width is `biases[i]`."""

    tensors: list[Tensor]
    ops: list[Op] = field(default_factory=list)
    layers: list[nn.Module] = field(default_factory=list)
    biases: list[npt.NDArray[np.float32] | None] = field(default_factory=list)

    @property
    def last(self) -> TensorType:
        return self.tensors[-1].type

    def ends(self, name: str) -> tuple[str, int, int]:
        """Name, input and output index of the operation about to be added."""
        return name, len(self.tensors) - 1, len(self.tensors)

    def add(
        self,
        op: Op,
        type_: TensorType,
        layer: nn.Module,
        bias: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.ops.append(op)
        self.tensors.append(Tensor(name=op.name, type=type_))
        self.layers.append(layer)
        self.biases.append(bias)


def to_model(
    network: Network, name: str, dps: Sequence[int], provenance: Provenance | None = None
) -> Model:
    """Export `network` as the float model `name` with a region for each of `dps` (percent).

    Weights are `[out, in]` and `[out, height, width, in]`; the input tensor is `(H, W, C)` for
    networks of images and the flat vector otherwise. Raises `ConfigError` for bad names or
    percentages and `UnsupportedOp` for unknown modules.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ConfigError(f"model name {name!r} is no C identifier; use letters, digits and _")
    if not dps or not all(1 <= dp <= 100 for dp in dps):
        raise ConfigError(f"regions {list(dps)} are out of range; give DP percentages 1 to 100")
    refuse_copies(network)
    chain = _trace(network)
    graph = Graph(
        tensors=tuple(chain.tensors),
        ops=tuple(chain.ops),
        input=0,
        output=len(chain.tensors) - 1,
    )
    return Model(
        name=name,
        graph=graph,
        regions=tuple(_region(chain, dp) for dp in sorted(set(dps))),
        provenance=provenance or Provenance(),
    )


def _trace(network: Network) -> _Chain:
    """Walk the body of a network and translate every module."""
    images = isinstance(network.body[0], ChannelsFirst)
    shape = network.input_shape if images else (math.prod(network.input_shape),)
    chain = _Chain([Tensor(name="input", type=_floats(shape, shape[-1]))])
    modules = list(network.body.named_children())
    followers = [module for _, module in modules[1:]] + [None]
    for (name, module), follower in zip(modules, followers, strict=True):
        activation = Activation.RELU if isinstance(follower, nn.ReLU) else Activation.NONE
        match module:
            case IncompleteConv2d():
                _add_conv(chain, name, module, activation)
            case IncompleteLinear():
                _add_linear(chain, name, module, activation)
            case nn.MaxPool2d() | nn.AvgPool2d():
                _add_pool(chain, name, module)
            case nn.Flatten():
                _add_flatten(chain, name, module)
            case nn.ReLU() | ChannelsFirst():
                pass
            case _:
                raise UnsupportedOp(
                    f"layer {name} is a {type(module).__name__}, which cannot be exported; "
                    "use the layers of tesla_embed.nn"
                )
    return chain


def _add_conv(chain: _Chain, name: str, layer: IncompleteConv2d, activation: Activation) -> None:
    weight, bias = _numbers(layer.weight).transpose(0, 2, 3, 1), _numbers(layer.bias)
    if layer.profile is not None:
        gamma = _numbers(layer.profile)
        weight, bias = weight * gamma[:, None, None, None], bias * gamma
    window = _window(layer.kernel, layer.stride, layer.padding)
    name, source, target = chain.ends(name)
    op = Conv2D(
        name=name,
        input=source,
        output=target,
        weights=Weights(data=_single(weight)),
        window=window,
        activation=activation,
    )
    size = window.output_size(*chain.last.shape[:2])
    chain.add(op, _floats((*size, layer.outputs), layer.outputs), layer, _single(bias))


def _add_linear(chain: _Chain, name: str, layer: IncompleteLinear, activation: Activation) -> None:
    weight = _numbers(layer.weight)
    if layer.profile is not None:
        weight = weight * _numbers(layer.profile)
    # A flattened image is channels-first in PyTorch and channels-last in the graph.
    source_type = chain.last
    grouped = weight.reshape(len(weight), source_type.channels, source_type.positions)
    weight = grouped.transpose(0, 2, 1).reshape(weight.shape)
    name, source, target = chain.ends(name)
    op = FullyConnected(
        name=name,
        input=source,
        output=target,
        weights=Weights(data=_single(weight)),
        activation=activation,
    )
    chain.add(op, _floats((layer.outputs,), layer.outputs), layer, _single(_numbers(layer.bias)))


def _add_pool(chain: _Chain, name: str, layer: nn.MaxPool2d | nn.AvgPool2d) -> None:
    if not isinstance(layer.kernel_size, int) or layer.stride != layer.kernel_size:
        raise UnsupportedOp(f"pooling {name} must use square windows that do not overlap")
    window = _window(layer.kernel_size, layer.kernel_size, 0)
    kind = MaxPool2D if isinstance(layer, nn.MaxPool2d) else AveragePool2D
    name, source, target = chain.ends(name)
    op = kind(name=name, input=source, output=target, window=window)
    channels = chain.last.channels
    size = window.output_size(*chain.last.shape[:2])
    chain.add(op, _floats((*size, channels), channels), layer)


def _add_flatten(chain: _Chain, name: str, layer: nn.Flatten) -> None:
    if len(chain.last.shape) == 1:
        return
    name, source, target = chain.ends(name)
    op = Reshape(name=name, input=source, output=target)
    chain.add(op, _floats((chain.last.size,), chain.last.channels), layer)


def _region(chain: _Chain, dp: int) -> Region:
    """Active shapes and biases at `dp` percent."""
    types = [chain.tensors[0].type]
    tables: list[Table | None] = []
    for op, layer, bias in zip(chain.ops, chain.layers, chain.biases, strict=True):
        full, channels = chain.tensors[op.output].type, types[op.input].channels
        if isinstance(layer, IncompleteConv2d | IncompleteLinear):
            channels = layer.active_outputs(dp)
        shape = (
            (full.positions * channels,) if len(full.shape) == 1 else (*full.shape[:2], channels)
        )
        types.append(_floats(shape, channels))
        tables.append(None if bias is None else Table(bias=bias[:channels].copy()))
    return Region(dp=dp, types=tuple(types), tables=tuple(tables))


def _window(size: int, stride: int, padding: int) -> Window:
    return Window(
        height=size,
        width=size,
        stride_height=stride,
        stride_width=stride,
        pad_top=padding,
        pad_bottom=padding,
        pad_left=padding,
        pad_right=padding,
    )


def _floats(shape: tuple[int, ...], channels: int) -> TensorType:
    return TensorType(shape=shape, channels=channels, dtype=DType.FLOAT32)


def _numbers(tensor: TorchTensor) -> Floats:
    values: Floats = tensor.detach().cpu().double().numpy()
    return values


def _single(values: Floats) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)
