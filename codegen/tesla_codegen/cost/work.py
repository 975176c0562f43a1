"""What a kernel is given for one layer in one region, as far as its cost depends on it.

In: a verified model, a region and an operation. Out: a `Work`, from which cost models read sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from tesla_embed.errors import CodegenError
from tesla_embed.ir.fixedpoint import quantize_multiplier
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    MaxPool2D,
    Mean,
    Op,
    Rescale,
    Weighted,
    Window,
)
from tesla_embed.ir.parts import Parts, channel_parts, joined
from tesla_embed.ir.requantization import activation_range, quantization
from tesla_embed.ir.scaling import (
    Rescaling,
    add_scaling,
    mean_rescaling,
    rescaling,
    scale_ratio,
)
from tesla_embed.ir.types import TensorType

HALF = (2**30, 0)
"""Multiplier and shift of a factor of one half."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A window along one axis: `inside` has, for each output, how many taps lie in the image."""

    outputs: int
    taps: int
    stride: int
    dilation: int
    pad: int
    length: int

    @property
    def inside(self) -> list[int]:
        """Taps within the image, output by output."""
        return [
            sum(
                0 <= out * self.stride - self.pad + tap * self.dilation < self.length
                for tap in span
            )
            for out in range(self.outputs)
            for span in (range(self.taps),)
        ]

    @property
    def covered(self) -> int:
        """Taps within the image, of all outputs."""
        return sum(self.inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One operation in one region; types of tensors are the active ones unless called full.

    `whole`: no region leaves out input channels. `parts` are what the active input channels consist
    of. `clamped`: the activation cuts off more than int8 does. `shifts` are the exponents of the
    factors that an operation rescales by, of each active channel if it has weights, `halved` which
    of them are one half, `kept` which change nothing at all. `away`: the activation shows what
    halves below zero are rounded to. `constants` are the numbers of the layer in C, by name.
    """

    op: Op
    sources: tuple[TensorType, ...]
    target: TensorType
    full_source: TensorType
    full_target: TensorType
    whole: bool
    parts: Parts
    clamped: bool
    shifts: tuple[int, ...] = ()
    halved: tuple[bool, ...] = ()
    kept: tuple[bool, ...] = ()
    away: bool = False
    constants: Mapping[str, int] = field(default_factory=dict)

    @property
    def source(self) -> TensorType:
        """The first input."""
        return self.sources[0]

    @property
    def inputs(self) -> int:
        """Active channels that are read."""
        return self.source.channels

    @property
    def outputs(self) -> int:
        """Active channels that are made."""
        return self.target.channels

    @property
    def window(self) -> Window:
        """The window of a convolution or pool."""
        if not isinstance(self.op, Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D):
            raise CodegenError(f"{self.op.name}: has no window")
        return self.op.window

    @property
    def rows(self) -> Axis:
        """The window along the image's height."""
        w = self.window
        sizes = (self.target.shape[0], w.height, w.stride_height, w.dilation_height, w.pad_top)
        return Axis(*sizes, self.source.shape[0])

    @property
    def columns(self) -> Axis:
        """The window along the image's width."""
        w = self.window
        sizes = (self.target.shape[1], w.width, w.stride_width, w.dilation_width, w.pad_left)
        return Axis(*sizes, self.source.shape[1])

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return self.target.positions


def work_of(model: Model, index: int, constants: Mapping[str, int] | None = None) -> list[Work]:
    """The work of operation `index` in every region of `model`, in their order."""
    op = model.graph.ops[index]
    rows = [channel_parts(model.graph, region)[op.input] for region in model.regions]
    full_source, full_target = (model.graph.tensors[i].type for i in (op.input, op.output))
    channels = {region.types[op.input].channels for region in model.regions}
    return [
        Work(
            op=op,
            sources=tuple(region.types[i] for i in op.inputs),
            target=region.types[op.output],
            full_source=full_source,
            full_target=full_target,
            whole=channels == {full_source.channels},
            parts=parts,
            clamped=_clamped(op, region),
            away=_away(op, region),
            constants=constants or {},
            **_factors(model, index, region),
        )
        for region, parts in zip(model.regions, joined(rows), strict=True)
    ]


class _Factors(TypedDict, total=False):
    shifts: tuple[int, ...]
    halved: tuple[bool, ...]
    kept: tuple[bool, ...]


def _clamped(op: Op, region: Region) -> bool:
    if not isinstance(op, Weighted | Add):
        return False
    low, high = activation_range(op.activation, quantization(region.types[op.output]))
    return low > -128 or high < 127


def _away(op: Op, region: Region) -> bool:
    """Whether outputs may be below the zero point."""
    if not isinstance(op, Weighted):
        return False
    target = quantization(region.types[op.output])
    return activation_range(op.activation, target)[0] < target.zero_point


def _factors(model: Model, index: int, region: Region) -> "_Factors":
    """`shifts`, `halved` and `kept` of an operation."""
    op, table = model.graph.ops[index], region.tables[index]
    sources = [region.types[i] for i in op.inputs]
    target = region.types[op.output]
    if isinstance(op, Weighted) and table is not None and table.weight_scale is not None:
        found = quantize_multiplier(table.weight_scale * scale_ratio(sources[0], target)).shift
        return {"shifts": tuple(int(shift) for shift in found)}
    if isinstance(op, Add):
        q = add_scaling(op, sources[0], sources[1], target)
        pairs = [(int(f.multiplier[0]), int(f.shift[0])) for f in (*q.factors, q.output_factor)]
        return {"shifts": tuple(s for _, s in pairs), "halved": tuple(f == HALF for f in pairs)}
    scalings: list[Rescaling] = []
    if isinstance(op, Mean):
        scalings = [mean_rescaling(sources[0], target)]
    elif isinstance(op, Rescale):
        scalings = [rescaling(sources[0], target, op.activation)]
    elif isinstance(op, Concat):
        scalings = [rescaling(source, target) for source in sources]
    return {
        "shifts": tuple(int(q.factor.shift[0]) for q in scalings),
        "kept": tuple(_keeps(q) for q in scalings),
    }


def _keeps(q: Rescaling) -> bool:
    """`tesla_keeps` of `tesla/rescale.h`."""
    factor = (int(q.factor.multiplier[0]), int(q.factor.shift[0]))
    clamp = (q.activation_min, q.activation_max)
    return factor == (2**30, 1) and clamp == (-128, 127) and q.input_offset == -q.output_offset
