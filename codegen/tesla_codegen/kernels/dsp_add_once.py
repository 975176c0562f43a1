"""Additions that round once, found by comparing with every pair of inputs.

TensorFlow Lite rounds both inputs, their sum and its shift, each 20 bits below an output or more.
Two products and one shift give the same outputs as long as no pair of inputs comes too close to a
half: there are 65,536 pairs, so that all are tried. For two factors the constants with which all
pairs come out form a range; where it is empty, factors a little beside the exact ones may do, as
exact halves want (they go away from zero). In: an addition of a verified model. Out: its variant,
or `None` where nothing was found in some region.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.dsp_add import scaling_of
from tesla_codegen.kernels.portable import portable_variant
from tesla_codegen.kernels.variant import Cuts, Row, Variant
from tesla_codegen.tables import TablePool
from tesla_embed.ir.fixedpoint import Int64, requantize
from tesla_embed.ir.graph import Model
from tesla_embed.ir.scaling import ADD_SHIFT, AddScaling, add_factors

_ROW = Row(c_type="tesla_add_once_t", bytes=20, size="{row}.size")
_FRACTION = 20
"""Bits below an output of what is summed."""
_FACTOR_BITS = _FRACTION + 8
_BESIDE = (0, 32, -32, 64, -64, 128, -128, 256, -256)
"""How far from the exact factors others are tried; 256 is a bit of the sum for an input of 1."""
_BYTES: Int64 = np.arange(-128, 128, dtype=np.int64)


def addition_once(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """A variant of an addition, or `None` where no numbers were found."""
    op = model.graph.ops[index]
    found: dict[int, tuple[int, int, int]] = {}
    for cut in cuts:
        numbers = _numbers(cut, index)
        if numbers is None:
            return None
        found[cut.regions[0].dp] = numbers

    def rows(dense: Model, index: int, _: TablePool) -> list[tuple[str, ...]]:
        region = dense.regions[0]
        q = scaling_of(dense, index)
        clamp = (q.activation_min, q.activation_max)
        size = region.types[dense.graph.ops[index].output].size
        return [tuple(map(str, (size, *found[region.dp], *clamp)))]

    return replace(
        portable_variant(model, op),
        kernel="tesla_add_once_dsp",
        helpers=("tesla_clamp_dsp",),
        row=_ROW,
        rows=rows,
    )


def _numbers(dense: Model, index: int) -> tuple[int, int, int] | None:
    """Both factors and the constant of a region."""
    op, types = dense.graph.ops[index], dense.regions[0].types
    first, second = (types[tensor] for tensor in op.inputs)
    *sides, total = add_factors(first, second, types[op.output])
    exact = [round(side * total * 2.0 ** (ADD_SHIFT + _FACTOR_BITS)) for side in sides]
    q = scaling_of(dense, index)
    wanted = outputs(q)
    for factors in _candidates(*exact):
        constant = constant_for(factors, wanted, q.activation_min, q.activation_max)
        if constant is not None:
            return (*factors, constant)
    return None


def _candidates(first: int, second: int) -> Iterator[tuple[int, int]]:
    for one, other in itertools.product(_BESIDE, _BESIDE):
        yield first + one, second + other


def outputs(q: AddScaling) -> npt.NDArray[np.int64]:
    """`[256, 256]`: what the addition makes of every pair of inputs from -128 on."""
    scaled = [
        requantize((_BYTES + offset)[:, None] << ADD_SHIFT, factor)
        for offset, factor in zip(q.input_offsets, q.factors, strict=True)
    ]
    sums = scaled[0] + scaled[1].T
    rounded = requantize(sums.reshape(-1, 1), q.output_factor).reshape(sums.shape)
    clamped: Int64 = np.clip(rounded + q.output_offset, q.activation_min, q.activation_max)
    return clamped


def constant_for(
    factors: tuple[int, int], wanted: npt.NDArray[np.int64], least: int, most: int
) -> int | None:
    """The constant with which both factors give `wanted`, clamped to `least` .. `most`; or `None`.

    `None` as well where 32 bits are too few.
    """
    if max(map(abs, factors)) >= 2**31:
        return None
    first, second = ((_BYTES * factor) >> 8 for factor in factors)
    sums = first[:, None] + second
    low = (wanted << _FRACTION) - sums
    high = low + (1 << _FRACTION) - 1
    smallest = int(low[wanted > least].max(initial=-(2**31)))
    largest = int(high[wanted < most].min(initial=2**31 - 1))
    constant = (smallest + largest) // 2
    reach = int(np.abs(sums).max()) + abs(constant)
    partly = int(np.abs(first).max()) + abs(constant)
    return constant if smallest <= largest and max(reach, partly) < 2**31 else None
