"""What is in a model: layers, shapes, quantisation, cost and size.

In: an integer model. Out: an `Inspection`, whose field names are a promise to users' scripts: add,
never rename. Sizes are those of the generated C.
"""

import msgspec

from tesla_codegen.lower import Project, lower
from tesla_embed.ir.graph import Model, Region, macs_fraction, region_macs
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.store import digest
from tesla_embed.ir.types import TensorType
from tesla_host.results import ArenaBuffer

SCHEMA = "tesla-embed/inspect/1"


class Value(msgspec.Struct, kw_only=True):
    """A tensor in a region: its active shape, and `real = scale * (integer - zero_point)`."""

    shape: list[int]
    scale: float
    zero_point: int


class Layer(msgspec.Struct, kw_only=True):
    """One operation in one region; `inputs` are the names of the tensors that it reads."""

    name: str
    op: str
    inputs: list[str]
    output: Value
    macs: int


class RegionContent(msgspec.Struct, kw_only=True):
    """One operating region. `macs_fraction` is the share of all multiply-accumulates,
    `arena_peak_bytes` the most of the arena that it uses at a time."""

    dp: int
    macs: int
    macs_fraction: float
    input: Value
    output: Value
    layers: list[Layer]
    arena_peak_bytes: int


class WeightBytes(msgspec.Struct, kw_only=True):
    """What the weights of one operation take, once for all regions; each has `bits` 8 or 4."""

    name: str
    shape: list[int]
    bits: int
    bytes: int


class Inspection(msgspec.Struct, kw_only=True):
    """What `tesla-embed inspect` finds. Sizes in bytes; no arena can be smaller than its bound."""

    schema: str = SCHEMA
    name: str
    digest: str
    made_by: str
    weights_bytes: int
    region_table_bytes: int
    arena_bytes: int
    weights: list[WeightBytes]
    regions: list[RegionContent]
    arena_bound_bytes: int
    arena: list[ArenaBuffer]


def inspect_model(model: Model) -> Inspection:
    """Look at a quantised model. Raises `CodegenError` if no C can be made of it."""
    project = lower(model)
    made = model.provenance
    weighted = [op for op in model.graph.ops if isinstance(op, Weighted)]
    return Inspection(
        name=model.name,
        digest=digest(model),
        made_by=" ".join(word for word in (made.algorithm, made.recipe) if word),
        weights_bytes=project.weights_bytes,
        region_table_bytes=project.region_table_bytes,
        arena_bytes=project.arena_bytes,
        weights=[
            WeightBytes(
                name=op.name,
                shape=list(op.weights.data.shape),
                bits=op.weights.bits,
                bytes=op.weights.bytes,
            )
            for op in weighted
        ],
        regions=[
            _region(model, region, row.arena_peak)
            for region, row in zip(model.regions, project.regions, strict=True)
        ],
        arena_bound_bytes=project.plan.bound_bytes,
        arena=arena_buffers(project),
    )


def arena_buffers(project: Project) -> list[ArenaBuffer]:
    """The buffers of a project's arena, in the order they come to life."""
    lives = {buffer.name: buffer for buffer in project.plan.buffers}
    return [
        ArenaBuffer(
            name=row.name,
            offset=row.offset,
            bytes=row.bytes,
            first=lives[row.name].first,
            last=lives[row.name].last,
            scratch=row.scratch,
            over=row.over,
        )
        for row in project.buffers
    ]


def _region(model: Model, region: Region, peak: int) -> RegionContent:
    graph = model.graph
    macs = region_macs(graph, region)
    return RegionContent(
        dp=region.dp,
        macs=sum(macs),
        macs_fraction=macs_fraction(graph, region),
        input=_value(region.types[graph.input]),
        output=_value(region.types[graph.output]),
        layers=[
            Layer(
                name=op.name,
                op=type(op).__name__,
                inputs=[graph.tensors[i].name for i in op.inputs],
                output=_value(region.types[op.output]),
                macs=cost,
            )
            for op, cost in zip(graph.ops, macs, strict=True)
        ],
        arena_peak_bytes=peak,
    )


def _value(type_: TensorType) -> Value:
    q = quantization(type_)
    return Value(shape=list(type_.shape), scale=q.scale, zero_point=q.zero_point)
