"""Fixed-point requantisation, exactly as TensorFlow Lite and CMSIS-NN define it.

All functions take and return NumPy integer arrays and are vectorised. Double rounding: first the
rounding doubling high multiplication, then the rounding shift, ties away from zero. Sources:
gemmlowp `fixedpoint.h`, TensorFlow Lite `quantization_util`, CMSIS-NN `arm_nn_requantize`.
Single rounding, for fully connected layers: see `transitions`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


class Multiplier(NamedTuple):
    """Real factors as `multiplier / 2**31 * 2**shift`, one per channel.

    `multiplier` is int32 in [2**30, 2**31) or 0, `shift` is int8 (positive: to the left).
    """

    multiplier: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int8]


def quantize_multiplier(factor: npt.NDArray[np.float64]) -> Multiplier:
    """Split positive real factors into a Q31 mantissa and a power of two.

    Factors under 2**-32 become 0, as TensorFlow Lite does.
    """
    mantissa, exponent = np.frexp(factor)
    q31 = np.floor(mantissa * 2.0**31 + 0.5).astype(np.int64)
    carry = q31 == 2**31
    q31 = np.where(carry, q31 // 2, q31)
    exponent = exponent + carry
    vanishes = exponent < -31
    return Multiplier(
        np.where(vanishes, 0, q31).astype(np.int32), np.where(vanishes, 0, exponent).astype(np.int8)
    )


def doubling_high_mul(a: Int64, b: Int64 | np.int64) -> Int64:
    """`round(a * b / 2**31)` for int32 values, ties towards plus infinity, saturating."""
    product = a * b
    high: Int64 = np.minimum((product + (1 << 30)) >> 31, INT32_MAX)
    return high


def rounding_shift_right(value: Int64, exponent: Int64 | np.int64) -> Int64:
    """`round(value / 2**exponent)` for `0 <= exponent <= 31`, ties away from zero."""
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (value < 0)
    rounded: Int64 = (value >> exponent) + ((value & mask) > threshold)
    return rounded


def requantize(accumulator: Int64, factors: Multiplier) -> Int64:
    """Scale int32 accumulators by per-channel factors; channels are the last axis."""
    shift = factors.shift.astype(np.int64)
    left = accumulator << np.maximum(shift, 0)
    high = doubling_high_mul(left, factors.multiplier.astype(np.int64))
    return rounding_shift_right(high, np.maximum(-shift, 0))


def requantize_once(accumulator: Int64, factors: Multiplier) -> Int64:
    """As `requantize` with a single rounding, ties towards plus infinity; shifts up to 30.

    `factors` that `transition_factors` made round as a product in float64 would.
    """
    right = 31 - factors.shift.astype(np.int64)
    product = accumulator * factors.multiplier.astype(np.int64)
    rounded: Int64 = (product + (np.int64(1) << (right - 1))) >> right
    return rounded
