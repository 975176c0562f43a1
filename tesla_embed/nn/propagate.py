"""Which channels of a traced module must shrink together.

In: the steps of a module. Out: `Layout`, the `Span` of every step's output, made of groups that are
tied by additions and depthwise convolutions. Refuses, with `UnsupportedOp`, steps that would mix
channels up when some are missing, and with `ConfigError` names of layers that do not exist.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from tesla_embed.errors import ConfigError
from tesla_embed.nn.channels import ChannelGroup, Part, Span
from tesla_embed.nn.layers import ScalableLayer
from tesla_embed.nn.steps import Kind, Step, Trace


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """`spans[i]` lies along the channels of step `i`.

    `by_producer` are the groups that convolutions make, whose profile the producer applies (Eq. 2);
    the others' is applied by their consumer (Eq. 1).
    """

    spans: tuple[Span, ...]
    by_producer: frozenset[ChannelGroup]

    def source(self, step: Step) -> Span:
        """The span that a step with one input reads."""
        return self.spans[step.inputs[0]]


@dataclass(slots=True, eq=False)
class _Cell:
    """Channels that are made together; cells that are tied share a root."""

    name: str
    size: int
    fixed: bool = False
    entrance: bool = False
    makers: list[Step] = field(default_factory=list)
    rigid: list[Step] = field(default_factory=list)
    parent: "_Cell | None" = None

    def root(self) -> "_Cell":
        return self if self.parent is None else self.parent.root()

    def tie(self, other: "_Cell") -> None:
        first, second = self.root(), other.root()
        if first is second:
            return
        second.parent = first
        first.fixed |= second.fixed
        first.entrance &= second.entrance
        first.makers += second.makers
        first.rigid += second.rigid


_Cells = tuple[tuple[_Cell, int], ...]
"""Cells along the channel dimension, each with how many entries a channel stands for."""


def lay_out(trace: Trace, fixed: Sequence[str], multiple: int) -> Layout:
    """Find the groups of a plain module; the outputs of layers named in `fixed` keep their width.

    Raises `UnsupportedOp` and `ConfigError`.
    """
    walk = _Walk(trace)
    for step in trace.steps:
        walk.visit(step)
    for cell, _ in walk.cells[trace.output]:
        cell.root().fixed = True
    makers = {maker.name: cell for row in walk.cells for cell, _ in row for maker in cell.makers}
    for name in fixed:
        if name not in makers:
            raise ConfigError(f"no layer {name!r} makes channels; layers are {', '.join(makers)}")
        makers[name].root().fixed = True
    return _settle(trace, walk.cells, multiple)


@dataclass(slots=True)
class _Walk:
    """The cells of the steps so far."""

    trace: Trace
    cells: list[_Cells] = field(default_factory=list)
    shared: dict[nn.Module, tuple[_Cells, _Cells]] = field(default_factory=dict)

    def visit(self, step: Step) -> None:
        """Add the cells of `step`'s output."""
        sources = [self.cells[index] for index in step.inputs]
        match step.kind:
            case Kind.INPUT:
                made: _Cells = ((self._entrance(step), 1),)
            case Kind.WEIGHTED | Kind.NORM:
                made = self._layer(step, sources[0])
            case Kind.ADD:
                for other in sources[1:]:
                    self._tie(step, sources[0], other)
                made = sources[0]
            case Kind.CONCAT:
                made = tuple(cell for source in sources for cell in source)
            case Kind.FLATTEN:
                made = self._flatten(step, sources[0])
            case Kind.REARRANGE:
                if not all(cell.root().entrance for cell, _ in sources[0]):
                    step.refuse("reorders channels that scale; only the input may be rearranged")
                made = ((self._entrance(step), 1),)
            case Kind.SOFTMAX:
                if self.trace.steps[self.trace.output] is not step:
                    step.refuse("is not the last operation; missing channels would change it")
                made = sources[0]
            case Kind.ELEMENTWISE | Kind.POOL:
                made = sources[0]
        self.cells.append(made)

    def _entrance(self, step: Step) -> _Cell:
        if len(step.shape) < 2:
            step.refuse(f"has shape {step.shape}; a batch dimension and channels are needed")
        return _Cell(step.name, step.shape[1], fixed=True, entrance=True)

    def _layer(self, step: Step, source: _Cells) -> _Cells:
        """A layer with weights; one that is used again ties its uses."""
        assert step.module is not None
        known = self.shared.get(step.module)
        if known:
            self._tie(step, known[0], source)
            return known[1]
        made = source if step.kind is Kind.NORM else self._weighted(step, step.module, source)
        self.shared[step.module] = source, made
        return made

    def _weighted(self, step: Step, module: nn.Module, source: _Cells) -> _Cells:
        rank = len(self.trace.steps[step.inputs[0]].shape)
        if isinstance(module, nn.Linear):
            if rank != 2:
                step.refuse(f"works on vectors [B, features] only, gets rank {rank}; flatten first")
            return ((_Cell(step.name, module.out_features, makers=[step]), 1),)
        assert isinstance(module, nn.Conv1d | nn.Conv2d)
        if module.padding_mode != "zeros":
            step.refuse(f"pads with {module.padding_mode!r}; use zeros")
        if module.groups == 1:
            return ((_Cell(step.name, module.out_channels, makers=[step]), 1),)
        if module.groups != module.in_channels:
            step.refuse(
                f"has {module.groups} groups over {module.in_channels} channels, which no leading "
                "part of the channels respects; use 1 group or one for each channel"
            )
        times = module.out_channels // module.in_channels
        for cell, _ in source:
            cell.root().makers.append(step)
        return tuple((cell, repeat * times) for cell, repeat in source)

    def _flatten(self, step: Step, source: _Cells) -> _Cells:
        positions = math.prod(self.trace.steps[step.inputs[0]].shape[2:])
        if step.rigid:
            for cell, _ in source:
                cell.root().rigid.append(step)
        return tuple((cell, repeat * positions) for cell, repeat in source)

    def _tie(self, step: Step, first: _Cells, second: _Cells) -> None:
        sizes = [[cell.size * repeat for cell, repeat in row] for row in (first, second)]
        repeats = [[repeat for _, repeat in row] for row in (first, second)]
        if sizes[0] != sizes[1] or repeats[0] != repeats[1]:
            step.refuse(
                f"ties tensors whose channels are made up differently, of {sizes[0]} and "
                f"{sizes[1]}; their leading parts would not match"
            )
        for (one, _), (other, _) in zip(first, second, strict=True):
            one.tie(other)


def _settle(trace: Trace, rows: Sequence[_Cells], multiple: int) -> Layout:
    """Turn cells into groups, checking what can be checked only when all ties are known."""
    groups: dict[_Cell, ChannelGroup] = {}
    producers = set()
    order = {step: index for index, step in enumerate(trace.steps)}
    for root in (cell.root() for row in rows for cell, _ in row):
        if root in groups:
            continue
        scalable = not root.fixed
        root.makers.sort(key=order.__getitem__)
        name = root.makers[0].name if root.makers else root.name
        groups[root] = ChannelGroup(name, root.size, scalable, multiple)
        linear = [step for step in root.makers if isinstance(step.module, nn.Linear)]
        if scalable and root.rigid:
            root.rigid[0].refuse(
                f"writes out the number of features, but {name} scales; use flatten(1)"
            )
        if scalable and linear and len(linear) != len(root.makers):
            linear[0].refuse(
                "shares its channels with a convolution, so it is not clear where their profile "
                f"belongs; name {name} in fixed"
            )
        if not linear:
            producers.add(groups[root])
    spans = (Span(tuple(Part(groups[cell.root()], repeat) for cell, repeat in row)) for row in rows)
    return Layout(tuple(spans), frozenset(producers))


def spans_of(trace: Trace) -> list[Span]:
    """The span of every step of a module that is scalable already."""
    spans: list[Span] = []
    for step in trace.steps:
        sources = [spans[index] for index in step.inputs]
        if isinstance(step.module, ScalableLayer):
            spans.append(step.module.target)
        elif step.kind in (Kind.INPUT, Kind.REARRANGE):
            spans.append(Span.of(step.shape[1]))
        elif step.kind is Kind.CONCAT:
            spans.append(Span(tuple(part for source in sources for part in source.parts)))
        elif step.kind is Kind.FLATTEN:
            positions = math.prod(trace.steps[step.inputs[0]].shape[2:])
            spans.append(sources[0].repeated(positions))
        else:
            spans.append(sources[0])
    return spans
