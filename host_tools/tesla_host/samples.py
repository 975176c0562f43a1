"""Inputs and outputs of `run` as `.npy` files.

In: a file with a batch `[N, ...]`, int8 as the model takes it, uint8 that are 128 more, as networks
of bytes take them, or real numbers. Out: int8 inputs, and a file with the outputs, written in one
step. Refuses, with `ConfigError`, pickles, other types, other shapes, and files that claim more
than they hold.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tesla_embed.atomic import replacing
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.types import TensorType

MAX_BYTES = 2**30
"""Largest file that is read."""
_MAGIC = b"\x93NUMPY"

Int8 = npt.NDArray[np.int8]


def read_inputs(path: Path, model: Model) -> tuple[Int8, float]:
    """Inputs `[N, *input shape]`, and the share of real numbers that lie beyond the input's range.

    A sample of the file may have any shape of the same size, except that of the same image with
    channels first. Real numbers are quantised, which saturates. Raises `ConfigError`.
    """
    values = _open(path)
    type_ = model.regions[0].types[model.graph.input]
    wanted = f"(N, {', '.join(map(str, type_.shape))})"
    sample = math.prod(values.shape[1:])
    if values.ndim < 2 or sample != type_.size:
        raise ConfigError(f"{path}: has shape {values.shape}; {model.name} takes {wanted}")
    if _channels_first(values.shape[1:], type_.shape):
        raise ConfigError(
            f"{path}: has shape {values.shape}, with channels first; {model.name} takes {wanted}: "
            "write x.transpose(0, 2, 3, 1)"
        )
    if values.dtype == np.int8:
        return np.array(values, np.int8).reshape(len(values), *type_.shape), 0.0
    if values.dtype == np.uint8:
        shifted = np.array(values, np.int16) - 128
        return shifted.astype(np.int8).reshape(len(values), *type_.shape), 0.0
    if not np.issubdtype(values.dtype, np.floating) or values.dtype.itemsize > 8:
        raise ConfigError(
            f"{path}: holds {values.dtype}; give int8 as the model takes it, uint8 that are 128 "
            "more, or real numbers in float32"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold saturates anyway
        real = np.array(values).astype(np.float32)
    if np.isnan(real).any():
        raise ConfigError(f"{path}: holds values that are no numbers (NaN)")
    return quantize_input(type_, real), _beyond(type_, real)


def _channels_first(given: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a sample is the image that is wanted, in another order."""
    return len(wanted) == 3 and wanted[2] > 1 and given == (wanted[2], *wanted[:2]) != wanted


def _beyond(type_: TensorType, real: npt.NDArray[np.float32]) -> float:
    """The share of real numbers that round to integers beyond int8."""
    q = quantization(type_)
    with np.errstate(over="ignore"):
        steps = np.rint(real.astype(np.float64) / q.scale) + q.zero_point
    return float(((steps < -128) | (steps > 127)).mean())


def write_outputs(path: Path, model: Model, region: Region, outputs: Int8, real: bool) -> None:
    """Write outputs `[N, *output shape]`, as they are or as the float32 that they stand for."""
    values: npt.NDArray[Any] = outputs
    if real:
        q = quantization(region.types[model.graph.output])
        values = (outputs.astype(np.float32) - np.float32(q.zero_point)) * np.float32(q.scale)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def _open(path: Path) -> npt.NDArray[Any]:
    """The array of a file, not yet read: its header must agree with the file's size."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error
    if magic != _MAGIC:
        raise ConfigError(f"{path}: is no .npy file; write it with numpy.save")
    if size > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; run it in parts")
    try:
        values: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # whatever a damaged header makes NumPy stumble over
        raise ConfigError(
            f"{path}: is no valid .npy file of numbers (truncated or damaged); write it again"
        ) from error
    if not values.size:
        raise ConfigError(f"{path}: holds no samples")
    return values
