"""Lower a quantised model to the final, named values that the templates print.

Everything that could go wrong or needs arithmetic happens here: buffers get addresses, operations
become kernel calls, regions become rows of constants. Templates only put the pieces in place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tesla_codegen.arena_map import BufferRow, arena_map, region_peak
from tesla_codegen.inplace import buffer_homes, last_steps, shared_buffers
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize, Variant
from tesla_codegen.plan import ALIGNMENT, Lifetime, Plan, plan
from tesla_codegen.regions import region_arrays, table_bytes
from tesla_codegen.tables import CArray, Initializer, c_array
from tesla_embed import __version__
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model, Region, macs_fraction, region_macs
from tesla_embed.ir.ops import Concat, Op, Weighted
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.store import digest
from tesla_embed.ir.types import TensorType
from tesla_embed.ir.verify import verify

RESERVED = frozenset(
    {
        "add_once",
        "add_region",
        "add_scaled",
        "app",
        "app_io",
        "app_model",
        "board",
        "board_counter",
        "board_info",
        "callback",
        "channel",
        "clamp",
        "clock",
        "columns",
        "command",
        "commands",
        "compact",
        "compact_bits",
        "compact_channel",
        "compact_region",
        "compact_scaled_region",
        "compiler",
        "concat_region",
        "conv2d",
        "counter",
        "depthwise",
        "depthwise_conv2d",
        "depthwise_patch",
        "depthwise_plane",
        "dot",
        "dot_nibbles",
        "dsp",
        "dsp_dense",
        "exchange",
        "four_sums",
        "fully_connected",
        "helium",
        "helium_block",
        "helium_blocks",
        "helium_convolve",
        "helium_copy",
        "helium_dense",
        "helium_depthwise",
        "helium_depthwise_3x3",
        "helium_dots",
        "helium_fill",
        "helium_fill_planes",
        "helium_fill_row",
        "helium_finish",
        "helium_image",
        "helium_job",
        "helium_kernel",
        "helium_lanes",
        "helium_lanes_row",
        "helium_output",
        "helium_padding",
        "helium_patch",
        "helium_patches",
        "helium_pixels",
        "helium_place",
        "helium_region",
        "helium_row",
        "helium_rows",
        "helium_run",
        "helium_set",
        "helium_view",
        "helium_window",
        "hello",
        "kernels",
        "kernels_dsp",
        "kernels_helium",
        "layer_callback",
        "layer_region",
        "layers",
        "lines",
        "lines_load",
        "lines_set",
        "lines_widen",
        "link",
        "lookup_region",
        "mean",
        "measure",
        "nibbles",
        "nrf",
        "packed",
        "packed_region",
        "pad",
        "pad_region",
        "pair",
        "pair_and_rest",
        "pair_channels",
        "pair_code",
        "pair_output",
        "pair_outputs",
        "pair_rest",
        "pair_word",
        "part",
        "parts",
        "patch",
        "plane",
        "plane_code",
        "register",
        "requantize",
        "rescale",
        "rescale_region",
        "ring",
        "scaled_channel",
        "scaled_region",
        "softmax_region",
        "stack",
        "status",
        "stm32",
        "string",
        "taps",
        "target",
        "three_columns",
        "ticks",
        "uart",
        "unpack_dsp",
        "unpack_scaled_dsp",
        "widen",
        "window",
        "winograd",
        "winograd_blocks",
        "winograd_columns",
        "winograd_place",
        "winograd_tiles",
        "word",
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

    def layer_weights_bytes(self, layer: str) -> int:
        """Flash of the weights of one operation."""
        return sum(array.bytes for array in self.weights if array.layer == layer)

    def layer_tables_bytes(self, layer: str) -> int:
        """Flash that all regions add for one operation; a shared table counts for one of them.

        With the 101 bytes of `region_of_percent`, those of all operations make up the whole.
        """
        rows = [array for array in self.region_arrays if array.layer == layer]
        tables = sum(array.bytes for array in self.tables if array.layer == layer)
        return tables + table_bytes(rows)

    def layer_scratch_bytes(self, layer: str) -> int:
        """Arena that one operation takes while it runs, beside its input and its output."""
        names = (_scratch_name(layer), _unpacked_name(layer))
        return sum(buffer.size for buffer in self.plan.buffers if buffer.name in names)


def lower(
    model: Model, *, isa: Isa = Isa.PORTABLE, optimize: Optimize = Optimize.BALANCED
) -> Project:
    """Lower a quantised model; the kernels check nothing, so it is verified here once more.

    Raises `GraphError` if it breaks a rule, `CodegenError` if a name is taken.
    """
    _check_names(model)
    verify(model)
    variants = choose(model, isa, optimize)
    kernels = [None if variant is None else variant.kernel for variant in variants]
    homes = buffer_homes(model, kernels)
    memory = _plan(model, homes, variants)
    address = _addresses(model, homes, memory)
    scratch = _scratch_addresses(model, memory)
    arrays, tables = region_arrays(model, variants)
    chosen = [variant for variant in variants if variant is not None]
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
        weights=tuple(_weights(model, variants)),
        tables=tables,
        layers=tuple(variant.layer for variant in chosen if variant.layer is not None),
        region_arrays=arrays,
        region_of_percent=c_array("region_of_percent", _region_of_percent(model)),
        regions=tuple(_region_row(model, region, memory) for region in model.regions),
        steps=tuple(
            _step(model, index, variant, address, scratch)
            for index, variant in enumerate(variants)
            if variant is not None
        ),
        kernels=_files(chosen),
    )


def _weights(model: Model, variants: Sequence[Variant | None]) -> Iterator[CArray]:
    for op, variant in zip(model.graph.ops, variants, strict=True):
        if variant is not None and variant.weights is not None:
            array = c_array(f"{op.name}_weights", variant.weights)
            attribute = " TESLA_ALIGNED" if variant.aligned else ""
            yield replace(array, attribute=attribute, layer=op.name)


def _files(variants: Sequence[Variant]) -> tuple[str, ...]:
    """Stems of the sources that variants need; a linker that reads in order meets callers first."""
    kernels = {variant.kernel for variant in variants}
    helpers = {helper for variant in variants for helper in variant.helpers} - kernels
    return (*sorted(kernels), *sorted(helpers))


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


def _plan(model: Model, homes: list[int], variants: Sequence[Variant | None]) -> Plan:
    """Buffers of everything between input and output, at full width, and of scratch memory."""
    graph = model.graph
    outside = {homes[graph.input], homes[graph.output]}
    last = last_steps(model, homes)
    first: dict[int, int] = {}
    for step, op in enumerate(graph.ops):
        first.setdefault(homes[op.output], step)
    buffers = [
        Lifetime(
            name=graph.tensors[home].name,
            size=graph.tensors[home].type.bytes,
            first=first[home],
            last=last[home],
        )
        for home in sorted(first.keys() - outside)
    ]
    buffers += [
        Lifetime(name=name, size=size, first=step, last=step)
        for step, variant in enumerate(variants)
        if variant is not None
        for name, size in (
            (_scratch_name(graph.ops[step].name), variant.scratch_bytes),
            (_unpacked_name(graph.ops[step].name), variant.unpacked_bytes),
        )
        if size
    ]
    kernels = [None if variant is None else variant.kernel for variant in variants]
    return plan(buffers, shared=shared_buffers(model, kernels, homes, last, outside))


def _scratch_name(layer: str) -> str:
    """What the plan calls the scratch memory of an operation; no tensor's name has a space."""
    return f"{layer} scratch"


def _unpacked_name(layer: str) -> str:
    """The same of the memory for what is unpacked for it."""
    return f"{layer} constants"


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


def _scratch_addresses(model: Model, memory: Plan) -> dict[str, str]:
    """By name, the C expressions of the buffers that hold no activation."""
    offsets = dict(zip((b.name for b in memory.buffers), memory.offsets, strict=True))
    names = [name(op.name) for op in model.graph.ops for name in (_scratch_name, _unpacked_name)]
    return {name: f"&arena[{offsets[name]}]" for name in names if name in offsets}


def _step(
    model: Model, index: int, variant: Variant, address: list[str], scratch: dict[str, str]
) -> Step:
    """The kernel calls of an operation."""
    op = model.graph.ops[index]
    sources = [model.graph.tensors[i].type for i in op.inputs]
    target = model.graph.tensors[op.output].type
    macs = region_macs(model.graph, model.regions[-1])[index]
    cost = f", {macs:,} MACs" if isinstance(op, Weighted) else ""
    shapes = " + ".join(_shape(source) for source in sources)
    row = _row(op, variant, 0, 1 if not isinstance(op, Concat) else len(op.inputs))
    return Step(
        op=index,
        name=op.name,
        comment=f"{op.name}: {shapes} -> {_shape(target)}{cost} at full width",
        calls=tuple(_calls(op, variant, address, scratch)),
        output=address[op.output],
        output_bytes=variant.row.size.format(row=row, positions=target.positions),
    )


def _calls(op: Op, variant: Variant, address: list[str], scratch: dict[str, str]) -> Iterator[str]:
    """One call; of a concatenation one per input."""
    inputs, output = [address[i] for i in op.inputs], address[op.output]
    if isinstance(op, Concat):
        for number, source in enumerate(inputs):
            row = _row(op, variant, number, len(inputs))
            yield f"{variant.kernel}(&{row}, {source}, {output})"
        return
    row = _row(op, variant, 0, 1)
    arguments = [f"&{variant.layer.name}"] if variant.layer else []
    region = row if variant.row.by_value else f"&{row}"
    if variant.unpack:
        region = f"{variant.unpack}({region}, {scratch[_unpacked_name(op.name)]})"
    arguments.append(region)
    if variant.parts:
        count = len(variant.parts[0])
        arguments += [f"&{op.name}_parts[region * {count}u]", str(count)]
    arguments += inputs
    arguments += [f"{op.name}_weights"] if variant.weights is not None else []
    arguments += [scratch[_scratch_name(op.name)]] if variant.scratch_bytes else []
    yield f"{variant.kernel}({', '.join((*arguments, output))})"


def _row(op: Op, variant: Variant, number: int, of: int) -> str:
    """The C expression of one of the rows that a region has."""
    place = "region" if of == 1 else f"region * {of}u"
    place += f" + {number}u" if number else ""
    return f"{op.name}_{variant.row.array}[{place}]"


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
