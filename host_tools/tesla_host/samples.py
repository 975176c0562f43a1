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

MAX_BYTES = 2**30
"""Largest file that is read."""
_MAGIC = b"\x93NUMPY"

Int8 = npt.NDArray[np.int8]


def read_inputs(path: Path, model: Model) -> Int8:
    """Inputs `[N, *input shape]`; each sample of the file may have any shape of the same size.

    Real numbers are quantised, which saturates. Raises `ConfigError`.
    """
    values = _open(path)
    type_ = model.regions[0].types[model.graph.input]
    wanted = f"(N, {', '.join(map(str, type_.shape))})"
    sample = math.prod(values.shape[1:])
    if values.ndim < 2 or sample != type_.size:
        raise ConfigError(f"{path}: has shape {values.shape}; {model.name} takes {wanted}")
    if values.dtype == np.int8:
        return np.array(values, np.int8).reshape(len(values), *type_.shape)
    if values.dtype == np.uint8:
        shifted = np.array(values, np.int16) - 128
        return shifted.astype(np.int8).reshape(len(values), *type_.shape)
    if not np.issubdtype(values.dtype, np.floating) or values.dtype.itemsize > 8:
        raise ConfigError(
            f"{path}: holds {values.dtype}; give int8 as the model takes it, uint8 that are 128 "
            "more, or real numbers in float32"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold saturates anyway
        real = np.array(values).astype(np.float32)
    if np.isnan(real).any():
        raise ConfigError(f"{path}: holds values that are no numbers (NaN)")
    return quantize_input(type_, real)


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
        raise ConfigError(f"{path}: is no valid .npy file of numbers; write it again") from error
    if not values.size:
        raise ConfigError(f"{path}: holds no samples")
    return values
