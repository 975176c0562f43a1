"""What a tensor is: shape, element type, quantisation, and which of its elements are channels.

Shapes leave out the batch: an image is `(height, width, channels)`, a vector `(features,)`.
"""

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class DType(enum.StrEnum):
    """Element types of the intermediate representation."""

    FLOAT32 = "float32"
    INT8 = "int8"
    INT32 = "int32"

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return self.numpy.itemsize

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The same type as NumPy spells it."""
        return np.dtype(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Affine quantisation of an activation: `real = scale * (integer - zero_point)`.

    `scale` is a positive float32 value (kept as the Python float that equals it exactly),
    `zero_point` lies in the range of the element type.
    """

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """The type of an activation.

    The elements are `positions` groups of `channels` each, channels innermost. For an image the
    last dimension is the channel dimension; a flattened image keeps the channel count it came
    from, so that a consumer can still skip the inactive ones.
    `quantization` is `None` for floats, and in the full-width graph of a scalable model, where
    every operating region brings its own.
    """

    shape: tuple[int, ...]
    channels: int
    dtype: DType = DType.INT8
    quantization: Quantization | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def positions(self) -> int:
        """Number of channel groups: pixels of an image, 1 for a plain vector."""
        return self.size // self.channels

    @property
    def bytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A named activation of a graph; operations refer to it by its index."""

    name: str
    type: TensorType


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Constant weights, output channels first: `[out, in]` or `[out, height, width, in]`.

    `scale` holds one positive float64 value per output channel for int8 data (symmetric, zero
    point 0) and is `None` for float data. In a scalable model the data exist once, and a region may
    bring scales of its own (see `Table`). Integers of 4 `bits` lie in -7…7; they are int8 here, and
    two to a byte on the device. Those of 8 bits that somebody else chose may be -128.
    """

    data: npt.NDArray[np.generic]
    scale: npt.NDArray[np.float64] | None = None
    bits: int = 8

    def __post_init__(self) -> None:
        self.data.flags.writeable = False
        if self.scale is not None:
            self.scale.flags.writeable = False

    @property
    def largest(self) -> int:
        """The largest integer of so many bits, and the magnitude of the smallest that we choose."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def bytes(self) -> int:
        """Bytes on the device: of 4 bits, two output channels share each byte."""
        rows = len(self.data) if self.bits == 8 else -(-len(self.data) // 2)
        return rows * math.prod(self.data.shape[1:])
