"""The memory plan told in words: which layers a buffer serves, and what a region uses of it."""

from dataclasses import dataclass

from tesla_codegen.plan import Plan, alive
from tesla_embed.ir.graph import Model, Region


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferRow:
    """A buffer of the arena: bytes from `offset` on, while the layers `since` to `until` run.

    `over` names the input that it overwrites while it is made, if it does. `scratch` memory holds
    no activation.
    """

    name: str
    offset: int
    bytes: int
    since: str
    until: str
    over: str
    scratch: bool


def arena_map(model: Model, plan: Plan) -> tuple[BufferRow, ...]:
    """The buffers of a plan in the order they come to life."""
    tensors = {tensor.name for tensor in model.graph.tensors}
    ops = model.graph.ops
    rows = sorted(zip(plan.buffers, plan.offsets, strict=True), key=lambda row: row[0].first)
    return tuple(
        BufferRow(
            name=buffer.name,
            offset=offset,
            bytes=buffer.size,
            since=ops[buffer.first].name,
            until=ops[buffer.last].name,
            over=", ".join(_overwritten(plan, buffer.name)),
            scratch=buffer.name not in tensors,
        )
        for buffer, offset in rows
    )


def region_peak(model: Model, region: Region, plan: Plan) -> int:
    """The most bytes of the arena that are in use at one step of a region."""
    sizes = {
        tensor.name: type_.bytes
        for tensor, type_ in zip(model.graph.tensors, region.types, strict=True)
    }
    return alive(plan, [sizes.get(buffer.name, buffer.size) for buffer in plan.buffers])


def _overwritten(plan: Plan, output: str) -> list[str]:
    """The inputs with which an output really shares bytes."""
    spans = {
        buffer.name: (offset, offset + buffer.size)
        for buffer, offset in zip(plan.buffers, plan.offsets, strict=True)
    }
    start, end = spans[output]
    sources = [entry.input for entry in plan.shared if entry.output == output]
    return [name for name in sources if spans[name][0] < end and start < spans[name][1]]
