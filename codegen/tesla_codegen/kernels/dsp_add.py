"""The addition for the DSP instructions.

TensorFlow Lite rescales both inputs by their scale over twice the larger one, so that the input
with the larger scale is halved exactly: shifted to the left by 20 before, it simply is shifted by
19. The other input and the sum are rescaled as convolutions are (see `channels`): their magnitudes
stay below 2^29. Where a shift is out of range the portable kernel adds.
"""

from dataclasses import replace

from tesla_codegen.kernels.portable import portable_variant
from tesla_codegen.kernels.rows import only
from tesla_codegen.kernels.variant import Cuts, Row, Variant
from tesla_codegen.tables import TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Add
from tesla_embed.ir.scaling import AddScaling, add_scaling

_ROW = Row(c_type="tesla_add_scaled_t", bytes=36, size="{row}.size")
_HALF = (2**30, 0)


def addition(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """A variant of an addition, or `None` where it would not be exact."""
    op = model.graph.ops[index]
    if not all(_ordered(scaling_of(cut, index)) for cut in cuts):
        return None
    return replace(
        portable_variant(model, op),
        kernel="tesla_add_dsp",
        helpers=("tesla_clamp_dsp",),
        row=_ROW,
        rows=_rows,
    )


def scaling_of(dense: Model, index: int) -> AddScaling:
    """The numbers of an addition of a model of one region; `CodegenError` if it is none."""
    op, types = dense.graph.ops[index], dense.regions[0].types
    if not isinstance(op, Add):
        raise CodegenError(f"{op.name}: is no addition")
    first, second = (types[tensor] for tensor in op.inputs)
    return add_scaling(op, first, second, types[op.output])


def _ordered(q: AddScaling) -> tuple[int, int] | None:
    """Places of the input that is halved and of the other one; `None` if the kernel cannot add."""
    (multiplier, shift) = only(q.output_factor)
    if multiplier < 2**30 or not 1 <= -shift <= 22:
        return None
    for larger, smaller in ((0, 1), (1, 0)):
        multiplier, shift = only(q.factors[smaller])
        same = (multiplier, shift) == _HALF
        if only(q.factors[larger]) == _HALF and (
            same or (multiplier >= 2**30 and 1 <= -shift <= 22)
        ):
            return larger, smaller
    return None


def _rows(dense: Model, index: int, _: TablePool) -> list[tuple[str, ...]]:
    """The row of a region, a `tesla_add_scaled_t`."""
    op, q = dense.graph.ops[index], scaling_of(dense, index)
    order = _ordered(q)
    if order is None:
        raise CodegenError(f"{op.name}: cannot be added by the DSP kernel")
    multiplier, shift = only(q.factors[order[1]])
    factor, right = only(q.output_factor)
    numbers = (
        dense.regions[0].types[op.output].size,
        *(q.input_offsets[place] for place in order),
        q.activation_min,
        q.activation_max,
        order[0],
        -shift,
        2 * multiplier - 2**32 if shift else 0,
        2 ** (-shift - 1) if shift else 0,
        2 * factor - 2**32,
        2 ** (-right - 1) + q.output_offset * 2**-right,
        -right,
    )
    return [tuple("INT32_MIN" if n == -(2**31) else str(n) for n in numbers)]
