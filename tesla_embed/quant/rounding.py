"""Plain rounding: ranges and float weights as integers. NumPy only."""

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.types import Quantization, Weights

_MIN_RELATIVE_SCALE = 2.0**-10
"""A channel's scale, relative to the layer's largest; keeps dead channels representable."""


def quantize_weights(data: npt.NDArray[np.float32], bits: int = 8) -> Weights:
    """Symmetric integers per output channel (axis 0): `scale = max |w| / (2**(bits - 1) - 1)`."""
    rows = data.reshape(len(data), -1).astype(np.float64)
    largest = 2 ** (bits - 1) - 1
    scale = np.maximum(np.abs(rows).max(axis=1) / largest, smallest_scale(data, bits))
    # Rounded to float32: what a .tflite can carry, exactly.
    scale = scale.astype(np.float32).astype(np.float64)
    integers = np.clip(np.rint(rows / scale[:, None]), -largest, largest).astype(np.int8)
    return Weights(data=integers.reshape(data.shape), scale=scale, bits=bits)


def smallest_scale(data: npt.NDArray[np.float32], bits: int) -> float:
    """What no channel's scale may fall below."""
    peak = float(np.abs(data).max()) * _MIN_RELATIVE_SCALE
    return max(peak, float(np.finfo(np.float32).tiny)) / float(2 ** (bits - 1) - 1)


def activation_quantization(low: float, high: float) -> Quantization:
    """Affine int8 parameters that cover `low` to `high` and represent 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255.0))
    if not scale > 0.0:
        return Quantization(scale=1.0, zero_point=0)
    zero_point = round(-128 - low / scale)
    return Quantization(scale=scale, zero_point=max(-128, min(127, zero_point)))
