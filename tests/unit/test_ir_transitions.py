"""Integer factors of fully connected layers against the float64 definition, in exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from test_ir_fixedpoint import round_half_away as exactly

from tesla_embed.errors import GraphError
from tesla_embed.ir.fixedpoint import requantize_once
from tesla_embed.ir.transitions import round_half_away, transition_factors

quick = settings(derandomize=True, deadline=None, max_examples=300)


def made(factor: float, sums: list[int], levels: tuple[int, int]) -> list[int]:
    """The integers' results for accumulators, limited to the levels."""
    ends = (np.array([min(sums)]), np.array([max(sums)]))
    factors = transition_factors(np.array([factor]), *ends, levels)
    assert factors.multiplier.dtype == np.int32 and factors.shift.dtype == np.int8
    results = requantize_once(np.array(sums, np.int64)[:, None], factors)[:, 0]
    return np.clip(results, *levels).tolist()


def defined(factor: float, sums: list[int], levels: tuple[int, int]) -> list[int]:
    """The definition: one product in float64, rounded with halves away from zero."""
    rounded = (exactly(Fraction(float(total) * factor)) for total in sums)
    return [max(levels[0], min(levels[1], value)) for value in rounded]


@quick
@given(st.floats(2.0**-31, 4.0), st.integers(-128, 127), st.integers(1, 9))
@example(0.5, 0, 1)
@example(0.25, -128, 1)
@example(1.0, 127, 1)
@example(2.0**-31, 0, 9)
@example(float(np.float32(0.1)) * float(np.float32(0.3)) / float(np.float32(0.06)), 3, 1)
def test_every_sum_of_a_small_layer(factor: float, zero_point: int, step: int) -> None:
    sums = list(range(-700, 701, step))
    levels = (-128 - zero_point, 127 - zero_point)
    assert made(factor, sums, levels) == defined(factor, sums, levels)


@quick
@given(st.floats(2.0**-16, 2.0**-9), st.integers(-128, 127), st.integers(0, 2**23))
def test_sums_next_to_transitions(factor: float, zero_point: int, reach: int) -> None:
    levels = (-128 - zero_point, 127 - zero_point)
    halves = [level + side for level in range(*levels) for side in (-0.5, 0.5)]
    sums = [round(half / factor) + nudge for half in halves for nudge in (-2, -1, 0, 1, 2)]
    sums = [total for total in (*sums, 0, reach, -reach) if abs(total) <= max(reach, 1)]
    assert made(factor, sums, levels) == defined(factor, sums, levels)


@quick
@given(st.integers(1, 20), st.integers(1, 4000))
def test_exact_ties_of_powers_of_two_go_away_from_zero(exponent: int, reach: int) -> None:
    factor, levels = 2.0**-exponent, (-128, 127)
    half = 1 << (exponent - 1)
    sums = [(2 * n + 1) * half for n in range(-min(reach, 130), min(reach, 130))]
    assert made(factor, sums, levels) == defined(factor, sums, levels)


def test_sums_that_always_saturate_or_vanish() -> None:
    for low, high in ((2**30, 2**31 - 1), (-(2**31) + 1, -(2**30)), (-3, 3), (0, 0), (7, 7)):
        for factor in (2.0**-40, 2.0**-31, 1e-3, 0.5, 1.0, 100.0):
            sums = [low, (low + high) // 2, high]
            if abs(low) > 2**20 and factor in (1e-3, 2.0**-31):
                continue
            assert made(factor, sums, (-100, 155)) == defined(factor, sums, (-100, 155))


@quick
@given(st.integers(24, 31), st.floats(0.2, 1.5))
def test_wide_layers_are_exact_or_refused(bits: int, share: float) -> None:
    """Beyond 2**23 some factors have no 31-bit integer; what is made is right."""
    most = 2**bits - 1
    factor = share * 127 / most
    edges = [math.ceil((n - 0.5) / factor) for n in range(1, 128)]
    sums = [sign * (edge + nudge) for edge in edges for sign in (1, -1) for nudge in (-1, 0, 1)]
    sums = [total for total in sums if abs(total) <= most]
    assume(sums)
    try:
        results = made(factor, [*sums, most, -most], (-128, 127))
    except GraphError as error:
        assert "no 31-bit multiplier" in str(error)
    else:
        assert results == defined(factor, [*sums, most, -most], (-128, 127))


def test_layers_of_many_channels_name_the_one_at_fault() -> None:
    count = 1500
    factor, reach = np.full(count, 2.0**-20), np.full(count, 2**20)
    factor[1200], reach[1200] = 100 / (2.0**31), 2**31 - 1
    factor[1201], reach[1201] = 99.9 / (2.0**31), 2**31 - 1
    with pytest.raises(GraphError, match=r"channel 120[01]: no 31-bit"):
        transition_factors(factor, -reach, reach, (-128, 127))
    fitting = transition_factors(factor[:1100], -reach[:1100], reach[:1100], (-128, 127))
    assert len(fitting.multiplier) == len(fitting.shift) == 1100


def test_rounding_half_away() -> None:
    below = math.nextafter(0.5, 0)
    values = [0.5, -0.5, below, -below, 1.5, -1.5, 2.4999, 0.0, 2.0**40 + 0.5]
    found = round_half_away(np.array(values))
    assert found.tolist() == [1, -1, 0, 0, 2, -2, 2, 0, 2**40 + 1]
