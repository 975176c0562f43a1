"""Requantisation against definitions that share nothing with it: exact fractions, and gemmlowp."""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tesla_embed.ir.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    Multiplier,
    doubling_high_mul,
    quantize_multiplier,
    requantize,
    rounding_shift_right,
)

INT32 = st.integers(INT32_MIN, INT32_MAX)
Q31 = st.one_of(
    st.just(0), st.integers(2**30, INT32_MAX), st.sampled_from([2**30, 2**30 + 1, INT32_MAX])
)
quick = settings(derandomize=True, deadline=None, max_examples=400)


def round_half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def round_half_away(value: Fraction) -> int:
    magnitude = math.floor(abs(value) + Fraction(1, 2))
    return magnitude if value >= 0 else -magnitude


def double_rounded(value: int, multiplier: int, shift: int) -> int:
    """TensorFlow Lite's `MultiplyByQuantizedMultiplier`, by its definition in exact numbers."""
    high = round_half_up(Fraction((value << max(shift, 0)) * multiplier, 2**31))
    return round_half_away(Fraction(high, 2 ** max(-shift, 0)))


def gemmlowp_high_mul(a: int, b: int) -> int:
    """`SaturatingRoundingDoublingHighMul` as its C++ spells it: a nudge, then truncation."""
    if a == b == INT32_MIN:
        return INT32_MAX
    product = a * b
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    return nudged // 2**31 if nudged >= 0 else -(-nudged // 2**31)


def int64(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


@quick
@given(INT32, INT32)
@example(INT32_MIN, INT32_MIN)
@example(1, 2**30)
@example(-1, 2**30)
@example(-3, 2**30)
@example(INT32_MIN, INT32_MAX)
def test_doubling_high_mul(a: int, b: int) -> None:
    result = int(doubling_high_mul(int64(a), int64(b))[0])
    assert result == min(round_half_up(Fraction(a * b, 2**31)), INT32_MAX)
    assert result == gemmlowp_high_mul(a, b)


@quick
@given(INT32, st.integers(0, 31))
@example(INT32_MIN, 31)
@example(INT32_MAX, 31)
@example(-(2**30), 31)
@example(2**30, 31)
def test_rounding_shift_right(value: int, exponent: int) -> None:
    result = int(rounding_shift_right(int64(value), int64(exponent))[0])
    assert result == round_half_away(Fraction(value, 2**exponent))


@quick
@given(st.integers(1, 31), st.integers(-(2**31), 2**31))
def test_rounding_shift_right_ties_go_away_from_zero(exponent: int, wanted: int) -> None:
    value = ((wanted >> exponent) << exponent) + (1 << (exponent - 1))
    if not INT32_MIN <= value <= INT32_MAX:
        return
    up, down = value >> exponent, (value >> exponent) + 1
    result = int(rounding_shift_right(int64(value), int64(exponent))[0])
    assert result == (down if value > 0 else up)


@quick
@given(INT32, Q31, st.integers(-31, 30))
@example(INT32_MIN, INT32_MAX, 0)
@example(-(2**31) + 1, 2**30, -31)
def test_requantize(value: int, multiplier: int, shift: int) -> None:
    value = value >> max(shift, 0)  # the range that every verified model keeps
    factors = Multiplier(np.array([multiplier], np.int32), np.array([shift], np.int8))
    expected = double_rounded(value, multiplier, shift)
    assert int(requantize(int64(value), factors)[0]) == expected


@quick
@given(st.integers(-(2**18), 2**18 - 1), st.integers(1, 12), st.integers(-1, 1))
def test_requantize_next_to_ties(value: int, exponent: int, nudge: int) -> None:
    """A factor of exactly 2**-n makes every odd multiple of half a step a tie."""
    accumulator = value * 2**exponent + 2 ** (exponent - 1) + nudge
    factors = quantize_multiplier(np.array([2.0**-exponent]))
    expected = double_rounded(accumulator, int(factors.multiplier[0]), int(factors.shift[0]))
    assert int(requantize(int64(accumulator), factors)[0]) == expected


def test_requantize_works_per_channel() -> None:
    factors = Multiplier(np.array([2**30, 0, 2**30], np.int32), np.array([1, 0, -2], np.int8))
    accumulator = np.array([[100, 100, 100], [-7, -7, -12]], np.int64)
    assert requantize(accumulator, factors).tolist() == [[100, 0, 13], [-7, 0, -2]]


@quick
@given(st.floats(1e-13, 2.0**29, allow_nan=False))
@example(1.0)
@example(1 - 2.0**-53)
@example(math.nextafter(0.5, 0))
@example(1 - 2.0**-32)
@example(1 - 2.0**-33)
@example(2.0**-32)
@example(math.nextafter(2.0**-32, 0))
@example(2.0**-32 * (1 - 2.0**-33))
@example(2.0**-33 * 1.5)
@example(2.0**-33)
def test_quantize_multiplier(factor: float) -> None:
    mantissa, exponent = math.frexp(factor)
    q31 = round_half_up(Fraction(mantissa) * 2**31)
    if q31 == 2**31:
        q31, exponent = q31 // 2, exponent + 1
    if exponent < -31:
        q31, exponent = 0, 0
    found = quantize_multiplier(np.array([factor]))
    assert (found.multiplier.dtype.name, found.shift.dtype.name) == ("int32", "int8")
    assert (int(found.multiplier[0]), int(found.shift[0])) == (q31, exponent)
    if q31:
        value = Fraction(q31, 2**31) * Fraction(2) ** exponent
        assert abs(value - Fraction(factor)) <= Fraction(factor) / 2**31


def test_quantize_multiplier_is_per_channel() -> None:
    found = quantize_multiplier(np.array([1.0, 0.75, 2.0**-40, 3.0]))
    assert found.multiplier.tolist() == [2**30, 3 * 2**29, 0, 3 * 2**29]
    assert found.shift.tolist() == [1, 0, 0, 2]
