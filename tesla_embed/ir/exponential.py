"""Exponentials and reciprocals in fixed point, exactly as gemmlowp computes them.

All functions take and return int64 NumPy arrays that hold int32 values, and are vectorised. Source:
gemmlowp `fixedpoint/fixedpoint.h`, which LiteRT's reference softmax is made of.
"""

import numpy as np

from tesla_embed.ir.fixedpoint import INT32_MAX, Int64, doubling_high_mul, rounding_shift_right

_QUARTER = 1 << 24
"""1/4 in Q5.26."""
_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-1/4), exp(-1/2), … exp(-16) in Q0.31."""


def exp_of_negative(value: Int64) -> Int64:
    """`exp(value)` in Q0.31 for values from -32 to 0 in Q5.26."""
    part = (value & (_QUARTER - 1)) - _QUARTER
    result = _exp_of_small(part << 5)
    remainder = part - value
    for place, factor in enumerate(_FACTORS):
        halved = doubling_high_mul(result, np.int64(factor))
        result = np.where(remainder & (_QUARTER << place), halved, result)
    return np.where(value == 0, INT32_MAX, result)


def reciprocal(value: Int64) -> Int64:
    """`1 / (1 + value)` in Q0.31 for values from 0 to 1 in Q0.31, by three steps of Newton."""
    half = (value + INT32_MAX + 1) >> 1
    found = 1515870810 + doubling_high_mul(half, np.int64(-1010580540))  # 48/17 - 32/17 d
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half, found)
        found = found + (doubling_high_mul(found, error) << 2)
    inverse: Int64 = np.minimum(found << 1, INT32_MAX)
    return inverse


def _exp_of_small(value: Int64) -> Int64:
    """`exp(value)` for values from -1/4 to 0, both in Q0.31: a Taylor series around -1/8."""
    x = value + (1 << 28)
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    quarter_x4 = rounding_shift_right(doubling_high_mul(x2, x2), np.int64(2))
    third = doubling_high_mul(quarter_x4 + x3, np.int64(715827883))
    series = x + rounding_shift_right(third + x2, np.int64(1))
    eighth = 1895147668  # exp(-1/8)
    return eighth + doubling_high_mul(series, np.int64(eighth))
