"""The outside judge: LiteRT's reference kernels on a region's stand-alone `.tflite`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.tflite.builder import INSTALL
from tesla_embed.tflite.export import to_tflite

Int8 = npt.NDArray[np.int8]


def judge_layers(model: Model, region: Region, inputs: Int8) -> list[Int8]:
    """Every operation's output `[N, *shape]` as LiteRT computes it.

    The `BUILTIN_REF` resolver is asked for: its kernels round as TensorFlow Lite defines it, while
    the default resolver hands the work to XNNPACK, which multiplies in floating point.
    Raises `ToolchainError` if LiteRT is missing.
    """
    values = run_file(to_tflite(model, region, batch=len(inputs), all_layers=True), inputs)
    shapes = [region.types[op.output].shape for op in model.graph.ops]
    return [value.reshape(len(inputs), *shape) for value, shape in zip(values, shapes, strict=True)]


def run_file(content: bytes, inputs: npt.NDArray[np.generic]) -> list[npt.NDArray[Any]]:
    """All outputs of a `.tflite` with one input, whose shape `inputs` are given."""
    interpreter = _interpreter(content)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    interpreter.set_tensor(entry["index"], inputs.reshape(entry["shape"]))
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def _interpreter(content: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise ToolchainError(f"LiteRT is not installed; run: {INSTALL}") from error
    return Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
