"""Convert a Keras network or a SavedModel to int8 with TensorFlow, ready to be imported.

In: a `.keras` file or a SavedModel's folder, and real inputs to calibrate on. Out: the bytes of a
`.tflite` with full integer quantisation. Needs the `tensorflow` extra; refuses, with
`UnsupportedOp`, what TensorFlow cannot convert, and `.h5` files, in which Keras runs code.
A SavedModel is a program, too, that TensorFlow may run; open only those that you trust.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError, ToolchainError, UnsupportedOp

SUFFIXES = (".keras", ".h5", ".hdf5")
"""Of networks that Keras stores; of these only `.keras` is opened."""
INSTALL = "pip install 'tesla-embed[tensorflow]'"
OLDEST_KERAS = (3, 11, 3)
"""Older ones run code from a file in spite of `safe_mode` (CVE-2025-1550, -8747, -9905, -9906)."""


def is_keras(path: Path) -> bool:
    """Whether `path` is a network that has to be converted first."""
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def convert(path: Path, examples: npt.NDArray[np.float32]) -> bytes:
    """The int8 `.tflite` of a network, calibrated on `examples` `[N, *input shape]`.

    Raises `ToolchainError` without TensorFlow, `ConfigError` where nothing can be read,
    `UnsupportedOp` where TensorFlow cannot convert it.
    """
    if not path.exists():
        raise ConfigError(f"cannot read {path}: there is no such file or folder; check the path")
    if not path.is_dir() and path.suffix.lower() != ".keras":
        raise UnsupportedOp(
            f"{path}: an HDF5 file can hold code that runs when Keras opens it; where you trust "
            "it, load it in Keras and save it as .keras"
        )
    tensorflow = _tensorflow()
    lite = tensorflow.lite

    def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
        for example in examples:
            yield [example[None]]

    try:
        converter = _converter(tensorflow, path)
        converter.optimizations = [lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tensorflow.int8
        content: bytes = converter.convert()
    except ToolchainError:
        raise
    except Exception as error:  # TensorFlow raises many kinds, of its own and of its libraries
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedOp(
            f"{path}: TensorFlow cannot convert it to int8 ({reason[0][:200]}); check that "
            "the data have the shape of its input"
        ) from error
    return content


def _converter(tensorflow: Any, path: Path) -> Any:
    kind = tensorflow.lite.TFLiteConverter
    if path.is_dir():
        return kind.from_saved_model(str(path))
    # In safe mode, layers with Python code inside are refused; that holds from OLDEST_KERAS on.
    network = _keras().models.load_model(str(path), compile=False, safe_mode=True)
    return kind.from_keras_model(network)


def _keras() -> Any:
    """Keras itself, not TensorFlow's name for it, which may stand for the older `tf_keras`."""
    try:
        import keras
    except ImportError as error:
        raise ToolchainError(f"opening a .keras file needs Keras; run: {INSTALL}") from error
    version = tuple(map(int, re.findall(r"\d+", keras.__version__)[:3]))
    if version < OLDEST_KERAS:
        oldest = ".".join(map(str, OLDEST_KERAS))
        raise ToolchainError(
            f"Keras {keras.__version__} runs code from the files that it opens; run: "
            f"pip install 'keras>={oldest}'"
        )
    return keras


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ToolchainError(
            f"converting a Keras network or SavedModel needs TensorFlow; run: {INSTALL}"
        ) from error
    return tensorflow
