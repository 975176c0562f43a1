"""Lower a quantised model to the final, named values that the templates print.

Everything that could go wrong or needs arithmetic happens here: buffers get addresses, operations
become kernel calls, regions become rows of constants. Templates only put the pieces in place.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tesla_codegen.arena_map import BufferRow, arena_map, region_peak
from tesla_codegen.inplace import shared_buffers
from tesla_codegen.layers import input_parts, kernel_name, layer_constants
from tesla_codegen.plan import ALIGNMENT, Lifetime, Plan, plan
from tesla_codegen.regions import region_arrays, row_type, table_bytes
from tesla_codegen.tables import CArray, Initializer, c_array, packed
from tesla_embed import __version__
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model, Region, computing_ops, macs_fraction, region_macs
from tesla_embed.ir.ops import Concat, Op, Reshape, Weighted
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.store import digest
from tesla_embed.ir.types import TensorType
from tesla_embed.ir.verify import verify

RESERVED = frozenset(
    {
        "add_region",
        "app",
        "app_io",
        "app_model",
        "board",
        "callback",
        "command",
        "commands",
        "compiler",
        "concat_region",
        "conv2d",
        "depthwise",
        "depthwise_conv2d",
        "depthwise_patch",
        "dot",
        "dot_nibbles",
        "exchange",
        "fully_connected",
        "hello",
        "kernels",
        "layer_callback",
        "layer_region",
        "layers",
        "link",
        "lookup_region",
        "mean",
        "measure",
        "nibbles",
        "pad",
        "pad_region",
        "part",
        "parts",
        "patch",
        "requantize",
        "rescale",
        "rescale_region",
        "softmax_region",
        "status",
        "string",
        "taps",
        "window",
    }
)
"""Model names whose `tesla_<name>` the static C uses itself, for a header, type or function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The kernel calls of one operation; `op` is its index in the graph."""

    op: int
    name: str
    comment: str
    calls: tuple[str, ...]
    output: str
    output_bytes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """What the generated documentation and the input/output helpers tell about a region.

    `arena_peak` is the most bytes of the arena that it uses at a time.
    """

    dp: int
    macs: int
    percent_of_macs: str
    input_scale: str
    input_zero_point: int
    output_scale: str
    output_zero_point: int
    arena_peak: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All that the templates of a model's C project need, as final values."""

    model: str
    prefix: str
    macro: str
    digest: str
    digest_bytes: str
    tool_version: str
    input_shape: str
    input_formula: str
    output_shape: str
    input_bytes: int
    output_bytes: int
    alignment: int
    plan: Plan
    buffers: tuple[BufferRow, ...]
    arena_bytes: int
    weights: tuple[CArray, ...]
    tables: tuple[CArray, ...]
    layers: tuple[Initializer, ...]
    region_arrays: tuple[Initializer, ...]
    region_of_percent: CArray
    regions: tuple[RegionRow, ...]
    steps: tuple[Step, ...]
    kernels: tuple[str, ...]

    @property
    def weights_bytes(self) -> int:
        """Flash that the one copy of the weights takes."""
        return sum(array.bytes for array in self.weights)

    @property
    def region_table_bytes(self) -> int:
        """Flash that all operating regions together add to the weights (32-bit pointers)."""
        arrays = (*self.tables, self.region_of_percent)
        return sum(array.bytes for array in arrays) + table_bytes(self.region_arrays)


def lower(model: Model) -> Project:
    """Lower a quantised model; the kernels check nothing, so it is verified here once more.

    Raises `GraphError` if it breaks a rule, `CodegenError` if a name is taken.
    """
    _check_names(model)
    verify(model)
    homes = _buffer_homes(model)
    memory = _plan(model, homes)
    address = _addresses(model, homes, memory)
    indices = computing_ops(model.graph)
    arrays, tables = region_arrays(model)
    weighted = [op for op in model.graph.ops if isinstance(op, Weighted)]
    ops = [model.graph.ops[i] for i in indices]
    input_type, output_type = (model.regions[-1].types[i] for i in _ends(model))
    identity = digest(model)
    return Project(
        model=model.name,
        prefix=f"tesla_{model.name}",
        macro=f"TESLA_{model.name.upper()}",
        digest=identity,
        digest_bytes=", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(identity)),
        tool_version=__version__,
        input_shape=_shape(input_type),
        input_formula=_input_formula(input_type),
        output_shape=_shape(output_type),
        input_bytes=input_type.bytes,
        output_bytes=output_type.bytes,
        alignment=ALIGNMENT,
        plan=memory,
        buffers=arena_map(model, memory),
        arena_bytes=max(memory.arena_bytes, ALIGNMENT),
        weights=tuple(c_array(f"{op.name}_weights", packed(op.weights)) for op in weighted),
        tables=tables,
        layers=tuple(c for op in ops if (c := layer_constants(model, op)) is not None),
        region_arrays=arrays,
        region_of_percent=c_array("region_of_percent", _region_of_percent(model)),
        regions=tuple(_region_row(model, region, memory) for region in model.regions),
        steps=tuple(_step(model, i, address) for i in indices),
        kernels=tuple(sorted({kernel_name(model, op) for op in ops})),
    )


def _check_names(model: Model) -> None:
    """Nothing generated may be called like something else that is compiled with it."""
    if model.name.lower() in RESERVED:
        raise CodegenError(f"a model cannot be called {model.name}: the C library uses that name")
    for op in model.graph.ops:
        if op.name == f"tesla_{model.name}":
            raise CodegenError(f"{op.name}: the library itself has that name; rename the layer")


def float_literal(value: float) -> str:
    """The shortest C literal that gives this float32 back."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0", exp_digits=1)
    return f"{text}f"


def _ends(model: Model) -> tuple[int, int]:
    return model.graph.input, model.graph.output


def _input_formula(type_: TensorType) -> str:
    q = quantization(type_)
    scale = np.format_float_positional(np.float32(q.scale), unique=True)
    return f"real / {scale} {'-' if q.zero_point < 0 else '+'} {abs(q.zero_point)}"


def _shape(type_: TensorType) -> str:
    return " x ".join(map(str, type_.shape))


def _buffer_homes(model: Model) -> list[int]:
    """For every tensor the one whose buffer it uses: reshaping moves nothing."""
    homes = list(range(len(model.graph.tensors)))
    for op in model.graph.ops:
        if isinstance(op, Reshape):
            homes[op.output] = homes[op.input]
    return homes


def _plan(model: Model, homes: list[int]) -> Plan:
    """Buffers of everything between input and output, at full width."""
    graph = model.graph
    outside = {homes[graph.input], homes[graph.output]}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for step, op in enumerate(graph.ops):
        first.setdefault(homes[op.output], step)
        for tensor in (*op.inputs, op.output):
            last[homes[tensor]] = step
    buffers = [
        Lifetime(
            name=graph.tensors[home].name,
            size=graph.tensors[home].type.bytes,
            first=first[home],
            last=last[home],
        )
        for home in sorted(first.keys() - outside)
    ]
    kernels = [None if isinstance(op, Reshape) else kernel_name(model, op) for op in graph.ops]
    return plan(buffers, shared=shared_buffers(model, kernels, homes, last, outside))


def _addresses(model: Model, homes: list[int], memory: Plan) -> list[str]:
    """For every tensor, the C expression of its address."""
    offsets = {
        buffer.name: offset for buffer, offset in zip(memory.buffers, memory.offsets, strict=True)
    }

    def address(home: int) -> str:
        if home == homes[model.graph.input]:
            return "input"
        if home == homes[model.graph.output]:
            return "output"
        return f"&arena[{offsets[model.graph.tensors[home].name]}]"

    return [address(home) for home in homes]


def _step(model: Model, index: int, address: list[str]) -> Step:
    """The kernel calls of an operation."""
    op = model.graph.ops[index]
    sources = [model.graph.tensors[i].type for i in op.inputs]
    target = model.graph.tensors[op.output].type
    macs = region_macs(model.graph, model.regions[-1])[index]
    cost = f", {macs:,} MACs" if isinstance(op, Weighted) else ""
    shapes = " + ".join(_shape(source) for source in sources)
    row = _row(op, 0, 1 if not isinstance(op, Concat) else len(op.inputs))
    return Step(
        op=index,
        name=op.name,
        comment=f"{op.name}: {shapes} -> {_shape(target)}{cost} at full width",
        calls=tuple(_calls(model, op, address)),
        output=address[op.output],
        output_bytes=row_type(op).size.format(row=row, positions=target.positions),
    )


def _calls(model: Model, op: Op, address: list[str]) -> Iterator[str]:
    """One call; of a concatenation one per input."""
    kernel, by_value = kernel_name(model, op), row_type(op).by_value
    inputs, output = [address[i] for i in op.inputs], address[op.output]
    if isinstance(op, Concat):
        for number, source in enumerate(inputs):
            yield f"{kernel}(&{_row(op, number, len(inputs))}, {source}, {output})"
        return
    row = _row(op, 0, 1)
    arguments = [f"&{op.name}_layer"] if layer_constants(model, op) else []
    arguments += [row if by_value else f"&{row}"]
    if parts := input_parts(model, op):
        count = len(parts[0])
        arguments += [f"&{op.name}_parts[region * {count}u]", str(count)]
    arguments += inputs
    arguments += [f"{op.name}_weights"] if isinstance(op, Weighted) else []
    yield f"{kernel}({', '.join((*arguments, output))})"


def _row(op: Op, number: int, of: int) -> str:
    """The C expression of one of the rows that a region has."""
    place = "region" if of == 1 else f"region * {of}u"
    place += f" + {number}u" if number else ""
    return f"{op.name}_{row_type(op).array}[{place}]"


def _region_of_percent(model: Model) -> np.ndarray:
    """101 bytes: the index of the region of each percentage, -1 where there is none."""
    lookup = np.full(101, -1, np.int8)
    for index, region in enumerate(model.regions):
        lookup[region.dp] = index
    return lookup


def _region_row(model: Model, region: Region, memory: Plan) -> RegionRow:
    entry, exit_ = (quantization(region.types[i]) for i in _ends(model))
    total = sum(region_macs(model.graph, region))
    return RegionRow(
        dp=region.dp,
        macs=total,
        percent_of_macs=f"{100 * macs_fraction(model.graph, region):.1f}",
        input_scale=float_literal(entry.scale),
        input_zero_point=entry.zero_point,
        output_scale=float_literal(exit_.scale),
        output_zero_point=exit_.zero_point,
        arena_peak=region_peak(model, region, memory),
    )
