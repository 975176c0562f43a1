"""Convert a Keras network or a SavedModel to int8 with TensorFlow, ready to be imported.

In: a `.keras` or `.h5` file or a SavedModel's folder, and real inputs to calibrate on. Out: the
bytes of a `.tflite` with full integer quantisation. Needs the `tensorflow` extra; refuses, with
`UnsupportedOp`, what TensorFlow cannot convert.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError, ToolchainError, UnsupportedOp

SUFFIXES = (".keras", ".h5")
INSTALL = "pip install 'tesla-embed[tensorflow]'"


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
    # Without code from the file: layers with Python functions inside are refused.
    network = tensorflow.keras.models.load_model(str(path), compile=False, safe_mode=True)
    return kind.from_keras_model(network)


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ToolchainError(
            f"converting a Keras network or SavedModel needs TensorFlow; run: {INSTALL}"
        ) from error
    return tensorflow
