"""A graph that grows operation by operation while an exported program is read.

PyTorch arranges images `[channels, height, width]`, the intermediate representation
`[height, width, channels]`. Of every value it is known where each of its elements is: `places`, of
PyTorch's shape without the batch, holds indices into the flat tensor of the representation.
Whatever only rearranges elements (permute, flatten, view) changes `places` and computes nothing;
whoever needs an image or a vector asks for it, and is refused where the elements lie otherwise.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Never, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from tesla_embed.errors import UnsupportedOp
from tesla_embed.ir.graph import Table
from tesla_embed.ir.ops import Op, Reshape
from tesla_embed.ir.types import DType, TensorType

Places = npt.NDArray[np.intp]
Shape = tuple[int, ...]
_LONGEST = 40
"""Characters of a name; the C code appends to it."""


class Ends(TypedDict):
    """What every operation is made with."""

    name: str
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """An activation: tensor `index` of the graph, and where PyTorch's elements are in it."""

    index: int
    places: Places

    @property
    def is_image(self) -> bool:
        """Whether it is an image or a sequence for PyTorch."""
        return self.places.ndim in (2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An operation of the program, with what is needed to read it and to complain about it."""

    node: fx.Node
    index: int
    kind: str

    @property
    def name(self) -> str:
        """The path of the module that it comes from, or its own name."""
        stack = self.node.meta.get("nn_module_stack") or {}
        paths = [str(path) for path, _ in stack.values() if path]
        return re.sub(r"^L\['self'\]\.|^_modules\.", "", paths[-1]) if paths else self.node.name

    def refuse(self, what: str) -> Never:
        """Raise `UnsupportedOp` that names the operation, its kind and its index."""
        raise UnsupportedOp(f"operator {self.index}, {self.kind} {self.name[:80]!r}: {what}")

    def require(self, holds: bool, what: str) -> None:
        """Refuse the operation unless `holds`."""
        if not holds:
            self.refuse(what)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name, `default` where it is left out."""
        if name in self.node.kwargs:
            return self.node.kwargs[name]
        return self.node.args[position] if position < len(self.node.args) else default

    def numbers(self, position: int, name: str, count: int, default: int) -> Shape:
        """`count` whole numbers, one of which may stand for all."""
        found = self.argument(position, name, ())
        values = (found,) if isinstance(found, int) else tuple(found or ())
        values = values or (default,)
        if len(values) not in (1, count) or not all(type(n) is int for n in values):
            self.refuse(f"has {name} {found}; {count} whole numbers are supported")
        return values * count if len(values) == 1 else values

    @property
    def shape(self) -> Shape:
        """The shape of the result without the batch."""
        return value_shape(self.node, self.refuse)


@dataclass(slots=True)
class Draft:
    """Tensors, operations and tables so far; `values` and `constants` by the program's nodes.

    `absorbed` names for each node that a layer takes in (batch norm, ReLU) that layer's node.
    """

    names: list[str] = field(default_factory=list)
    types: list[TensorType] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    tables: list[Table | None] = field(default_factory=list)
    values: dict[fx.Node, Value] = field(default_factory=dict)
    constants: dict[fx.Node, Tensor] = field(default_factory=dict)
    absorbed: dict[fx.Node, fx.Node] = field(default_factory=dict)

    def begin(self, node: fx.Node, shape: Shape, channels_last: bool) -> None:
        """Make a placeholder of `shape` the graph's input."""
        if channels_last or len(shape) == 1:
            inside, places = shape, np.arange(np.prod(shape)).reshape(shape)
        else:
            channels, *space = shape
            inside = (*space, channels) if len(space) == 2 else (1, *space, channels)
            places = image_places(inside).reshape(shape)
        self.names.append("input")
        self.types.append(floats(inside))
        self.values[node] = Value(0, places)

    def value(self, node: Node, position: int = 0) -> Value:
        """The activation that is read at an argument."""
        return self.activation(node, node.argument(position, "input"))

    def activation(self, node: Node, source: object) -> Value:
        """The activation that an argument stands for. Refuses constants and numbers."""
        if isinstance(source, fx.Node) and source in self.values:
            return self.values[source]
        if isinstance(source, fx.Node) and source in self.constants:
            node.refuse(f"computes with the constant {source.name!r}; only weights may be")
        return node.refuse(f"computes with {str(source)[:40]!r}, which is no activation")

    def constant(self, node: Node, position: int, name: str) -> npt.NDArray[np.float64] | None:
        """A weight or bias in float64, `None` where it is left out. Refuses what is computed."""
        source = node.argument(position, name)
        if source is None:
            return None
        if not isinstance(source, fx.Node) or source not in self.constants:
            node.refuse(f"the {name} is computed, not constant")
        tensor = self.constants[source].detach()
        if not tensor.is_floating_point() or tensor.is_quantized or tensor.layout != torch.strided:
            node.refuse(f"the {name} is {tensor.dtype}; only floats are supported")
        found: npt.NDArray[np.float64] = tensor.double().cpu().numpy()
        if not (np.abs(found) <= np.finfo(np.float32).max).all():
            node.refuse(f"the {name} has values that are not finite in float32")
        return found

    def image(self, node: Node, value: Value) -> int:
        """The tensor `[height, width, channels]` of an image or, of one row, a sequence."""
        shape = value.places.shape
        if not value.is_image:
            node.refuse(f"works on shape {shape}; only images and sequences are supported")
        channels, *space = shape
        inside = (*space, channels) if len(space) == 2 else (1, *space, channels)
        if not np.array_equal(value.places, image_places(inside).reshape(shape)):
            node.refuse("its input's elements are rearranged; it needs [batch, channels, …]")
        return self.reshaped(node, value.index, inside)

    def vector(self, node: Node, value: Value) -> int:
        """The tensor of a value as a vector, elements as `places` says."""
        return self.reshaped(node, value.index, (self.types[value.index].size,))

    def reshaped(self, node: Node, index: int, shape: Shape) -> int:
        """A tensor under another shape, itself if it has that already."""
        if self.types[index].shape == shape:
            return index
        return self.add(Reshape(**self.ends(node, index)), shape)

    def ends(self, node: Node, *inputs: int) -> Ends:
        """Name, inputs and output of the next operation."""
        return Ends(name=self._identifier(node.name), inputs=inputs, output=len(self.types))

    def add(self, op: Op, shape: Shape, table: Table | None = None) -> int:
        """Append an operation that makes a tensor of `shape`; the index of that tensor."""
        self.names.append(op.name)
        self.types.append(floats(shape))
        self.ops.append(op)
        self.tables.append(table)
        return op.output

    def made_image(self, node: Node, index: int) -> Value:
        """The value of a tensor that a layer of images made. Refuses another shape than said."""
        places = image_places(self.types[index].shape)
        said = node.shape
        node.require(places.size == int(np.prod(said)), f"makes {places.shape}, not {said}")
        return Value(index, places.reshape(said))

    def _identifier(self, text: str) -> str:
        """A C identifier that nothing else has, as like `text` as possible."""
        plain = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[-_LONGEST:].lower().strip("_")
        if not plain or not plain[0].isalpha():
            plain = f"layer_{plain}"
        taken, name, count = set(self.names), plain, 1
        while name in taken:
            count += 1
            name = f"{plain}_{count}"
        return name


def kind_of(node: fx.Node) -> str:
    """The bare name of one of PyTorch's operations (`conv2d`, `relu`), else all of its target."""
    if node.target is operator.getitem:
        return "getitem"
    if isinstance(node.target, OpOverload) and node.target.namespace == "aten":
        return node.target.__name__.partition(".")[0]
    return str(node.target)


def image_places(shape: Shape) -> Places:
    """Of a tensor `[height, width, channels]`, PyTorch's `[channels, height, width]`."""
    return np.arange(np.prod(shape)).reshape(shape).transpose(2, 0, 1)


def floats(shape: Shape) -> TensorType:
    """The type of an activation whose channels are its last dimension."""
    return TensorType(shape=shape, channels=shape[-1], dtype=DType.FLOAT32)


def value_shape(node: fx.Node, refuse: Callable[[str], Never]) -> Shape:
    """The shape of what a node makes, without its batch; `refuse` is told what is wrong."""
    found = node.meta.get("val")
    if isinstance(found, tuple | list) and found:
        found = found[0]  # of several results only the first is ever used
    if not isinstance(found, Tensor):
        refuse("makes no single tensor")
    sizes: Sequence[Any] = found.shape[1:]
    if len(found.shape) < 2 or not all(type(size) is int for size in sizes):
        refuse(f"makes shape {list(found.shape)}; a batch and known sizes after it are supported")
    return tuple(int(size) for size in sizes)
