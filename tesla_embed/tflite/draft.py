"""A graph that grows operation by operation while a `.tflite` file is read.

In: the tensors and operators of a file. Out: tensors, operations and tables of the intermediate
representation. Refuses, with errors that name the operator, what has no counterpart there.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Never, TypedDict

import numpy as np

from tesla_embed.errors import GraphError, UnsupportedOp
from tesla_embed.ir.graph import Table
from tesla_embed.ir.ops import FullyConnected, Op, Reshape, Weighted
from tesla_embed.ir.types import DType, Quantization, TensorType
from tesla_embed.tflite.schema import NO_TENSOR, Constant, File, FileOperator, FileTensor

Shape = tuple[int, ...]
_LONGEST = 40
"""Characters of a name; the C code appends to it."""


class Ends(TypedDict):
    """What every operation is made with."""

    name: str
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of the file, with what is needed to read it and to complain about it."""

    file: File
    operator: FileOperator

    @property
    def name(self) -> str:
        """The name of the first output: operators have none of their own."""
        outputs = [self.file.tensors[i].name for i in self.operator.outputs if i != NO_TENSOR]
        return outputs[0] if outputs else ""

    def refuse(self, what: str) -> Never:
        """Raise `UnsupportedOp` that names the operator, its kind and its index."""
        place = f"operator {self.operator.index}, {self.operator.kind} {self.name[:80]!r}"
        raise UnsupportedOp(f"{place}: {what}")

    def require(self, holds: bool, what: str) -> None:
        """Refuse the operator unless `holds`."""
        if not holds:
            self.refuse(what)

    def input(self, position: int) -> int:
        """The index of an input tensor that must be there."""
        found = self.optional(position)
        if found is None:
            self.refuse(f"has no input {position}; the file is damaged")
        return found

    def optional(self, position: int) -> int | None:
        """The index of an input tensor, `None` where it is left out."""
        inputs = self.operator.inputs
        return (
            None if position >= len(inputs) or inputs[position] == NO_TENSOR else inputs[position]
        )

    @property
    def output(self) -> int:
        """The index of the one output tensor."""
        outputs = self.operator.outputs
        if len(outputs) != 1 or outputs[0] == NO_TENSOR:
            self.refuse(f"has {len(outputs)} outputs, not one")
        return outputs[0]

    def option(self, number: int, kind: str, default: int = 0) -> int:
        """A field of the operator's own table."""
        options = self.operator.options
        return default if options is None else options.integer(number, kind, default)

    def constant(self, position: int, dtypes: str, what: str) -> Constant:
        """The values of an input that must be a constant of one of some types, as `int32 int64`."""
        tensor = self.file.tensors[self.input(position)]
        if tensor.dtype not in dtypes.split():
            hint = "; convert the network without optimisations" if dtypes == "float32" else ""
            known = dtypes.replace(" ", " or ")
            self.refuse(f"the {what} are {tensor.dtype}; only {known} is supported{hint}")
        if tensor.constant is None:
            self.refuse(f"the {what} are computed, not constant")
        return tensor.constant


@dataclass(slots=True)
class Draft:
    """Tensors, operations and tables so far; `homes` maps tensors of the file to tensors here.

    `layers` says for each operation which tensor of the file its output is, -1 for one that the
    file has not; `taken` counts the names that begin alike; `nodes` tells by an operation's name
    which operator of the file it comes from. `floats` says that the network is one
    of real numbers, which shall be quantised. `weight_bytes`, `rows` (of fully
    connected layers) and `channels` (that operations read and make) tell what verifying will cost.
    """

    file: File
    names: list[str] = field(default_factory=list)
    types: list[TensorType] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    tables: list[Table | None] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    homes: dict[int, int] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    floats: bool = False
    weight_bytes: int = 0
    rows: int = 0
    channels: int = 0

    def begin(self, number: int) -> None:
        """Make a tensor of the file the graph's input."""
        tensor = self.file.tensors[number]
        if tensor.filled:
            raise UnsupportedOp(f"the input {tensor.name!r} is a constant; there is nothing to run")
        self.names.append(self._identifier(tensor.name))
        self.types.append(self._activation(tensor, file_shape(tensor)))
        self.homes[number] = 0

    def source(self, node: Node, position: int = 0) -> int:
        """The activation that a node reads. Raises `UnsupportedOp` for a constant."""
        number = node.input(position)
        if number not in self.homes:
            tensor = self.file.tensors[number]
            if tensor.filled:
                node.refuse(f"its input {tensor.name!r} is a constant; only weights may be")
            node.refuse(f"its input {tensor.name!r} is not computed before; the file is damaged")
        return self.homes[number]

    def ends(self, node: Node, *inputs: int) -> Ends:
        """Name, inputs and output of the next operation."""
        name = self._identifier(node.name)
        self.nodes[name] = node
        return Ends(name=name, inputs=inputs, output=len(self.types))

    def type(self, node: Node, shape: Shape) -> TensorType:
        """The type of a node's output, computed to be of `shape`. Refuses a file that differs."""
        tensor = self.file.tensors[node.output]
        try:
            said = file_shape(tensor)
        except UnsupportedOp as error:
            node.refuse(str(error))
        text = f"makes shape {shape}, and the file says {said}; it is damaged"
        node.require(said == shape, text)
        try:
            return self._activation(tensor, shape)
        except UnsupportedOp as error:
            node.refuse(str(error))

    def _activation(self, tensor: FileTensor, shape: Shape) -> TensorType:
        return (float_type if self.floats else activation_type)(tensor, shape)

    def add(self, op: Op, type_: TensorType, table: Table | None = None) -> int:
        """Append an operation that makes a tensor of `type_`; the index of that tensor."""
        self.names.append(op.name)
        self.types.append(type_)
        self.ops.append(op)
        self.tables.append(table)
        self.layers.append(-1)
        self.weight_bytes += op.weights.data.nbytes if isinstance(op, Weighted) else 0
        self.rows += type_.channels if isinstance(op, FullyConnected) else 0
        self.channels += type_.channels + sum(self.types[i].channels for i in op.inputs)
        return op.output

    def reshaped(self, node: Node, index: int, shape: Shape) -> int:
        """A tensor under another shape, itself if it has that already."""
        source = self.types[index]
        if source.shape == shape:
            return index
        type_ = dataclasses.replace(source, shape=shape, channels=shape[-1])
        return self.add(Reshape(**self.ends(node, index)), type_)

    def finish(self, node: Node, index: int) -> None:
        """Tell that `index` is what the node makes."""
        if node.output in self.homes or self.file.tensors[node.output].filled:
            raise GraphError(f"tensor {node.name!r} is written twice; the file is damaged")
        self.homes[node.output] = index
        for place in range(len(self.ops) - 1, -1, -1):
            op = self.ops[place]
            if op.output != index or self.layers[place] != -1:
                return
            self.layers[place] = node.output
            if isinstance(op, Reshape):  # what it reshapes has the same values
                index = op.input

    def _identifier(self, text: str) -> str:
        """A C identifier that nothing else has, as like `text` as possible."""
        # Converters join the names of what they fused; the last scope is the layer's own name.
        scopes = text.split(";")[0].split(":")[0].strip("/").split("/")
        plain = re.sub(r"[^A-Za-z0-9]+", "_", scopes[-2:][0]).strip("_")[:_LONGEST].lower()
        if not plain or not plain[0].isalpha() or plain.startswith("tesla_"):
            plain = f"t{plain}"  # the C library itself is called tesla_ and the model's name
        name = plain
        while name in self.taken:
            self.taken[plain] += 1
            name = f"{plain}_{self.taken[plain]}"
        self.taken[name] = 1
        return name


def file_shape(tensor: FileTensor) -> Shape:
    """A tensor's shape without its batch of one. Raises `UnsupportedOp` for another batch."""
    shape = tensor.shape
    if len(shape) > 1:
        if shape[0] not in (1, -1):
            raise UnsupportedOp(
                f"{tensor.name!r} has a batch of {shape[0]}; only one sample at a time is supported"
            )
        shape = shape[1:]
    if not 1 <= len(shape) <= 3 or any(size < 1 for size in shape):
        raise UnsupportedOp(
            f"{tensor.name!r} has shape {tensor.shape}; supported are 1 to 3 known dimensions "
            "after the batch"
        )
    return shape


def float_type(tensor: FileTensor, shape: Shape) -> TensorType:
    """The type of a float32 activation. Raises `UnsupportedOp` for any other."""
    if tensor.dtype != "float32":
        hint = "the file is quantised already: import it without data (--data)"
        if tensor.dtype in ("float16", "float64", "bfloat16"):
            hint = "convert the network to float32"
        raise UnsupportedOp(
            f"{tensor.name!r} is {tensor.dtype}; only networks of float32 can be quantised: {hint}"
        )
    return TensorType(shape=shape, channels=shape[-1], dtype=DType.FLOAT32)


def activation_type(tensor: FileTensor, shape: Shape) -> TensorType:
    """The type of an int8 activation. Raises `UnsupportedOp` for any other."""
    if tensor.dtype != "int8":
        raise UnsupportedOp(
            f"{tensor.name!r} is {tensor.dtype}; only int8 is supported: convert the network with "
            "full integer quantisation, or import one of float32 with data to calibrate on (--data)"
        )
    if len(tensor.scale) != 1 or len(tensor.zero_point) > 1:
        raise UnsupportedOp(
            f"{tensor.name!r} needs one scale and zero point, not {len(tensor.scale)}"
        )
    zero_point = int(tensor.zero_point[0]) if len(tensor.zero_point) else 0
    scale = float(tensor.scale[0])
    if not (np.isfinite(scale) and scale > 0 and -128 <= zero_point <= 127):
        raise UnsupportedOp(f"{tensor.name!r} has scale {scale} and zero point {zero_point}")
    return TensorType(
        shape=shape,
        channels=shape[-1],
        quantization=Quantization(scale=scale, zero_point=zero_point),
    )
