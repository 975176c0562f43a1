"""LiteRT under whichever name it is installed: `ai-edge-litert`, `tflite-runtime` or TensorFlow."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from tesla_embed.errors import GraphError, ToolchainError
from tesla_embed.tflite.builder import INSTALL

_MODULES = (
    "ai_edge_litert.interpreter",
    "tflite_runtime.interpreter",
    "tensorflow.lite.python.interpreter",
)
"""What may hold the classes `Interpreter` and `OpResolverType`; the first that is there is used."""


def reference_interpreter(content: bytes) -> Any:
    """An interpreter of a `.tflite` with the reference kernels, its tensors allocated.

    The `BUILTIN_REF` resolver is asked for: its kernels round as TensorFlow Lite defines it, while
    the default resolver hands the work to XNNPACK, which multiplies in floating point.
    Raises `ToolchainError` if nothing is installed, `GraphError` if LiteRT refuses the file.
    """
    module = _module()
    with refusals():
        interpreter = module.Interpreter(
            model_content=content,
            experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    return interpreter


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what LiteRT raises about a file into `GraphError`."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or ["for no reason"]
        raise GraphError(f"LiteRT refuses the file: {reason[0]}") from error


def _module() -> Any:
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ToolchainError(f"LiteRT is not installed; run: {INSTALL}")
