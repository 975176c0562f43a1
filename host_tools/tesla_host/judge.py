"""The outside judge: LiteRT's reference kernels on an exported region, or on an original file."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import GraphError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.requantization import quantization
from tesla_embed.tflite.export import to_tflite
from tesla_embed.tflite.importer import Imported
from tesla_host.litert import reference_interpreter, refusals

Int8 = npt.NDArray[np.int8]


def judge_layers(model: Model, region: Region, inputs: Int8) -> list[Int8]:
    """Every operation's output `[N, *shape]` as LiteRT computes it.

    Raises `ToolchainError` if LiteRT is missing.
    """
    values = run_file(to_tflite(model, region, batch=len(inputs), all_layers=True), inputs)
    shapes = [region.types[op.output].shape for op in model.graph.ops]
    return [value.reshape(len(inputs), *shape) for value, shape in zip(values, shapes, strict=True)]


def run_file(content: bytes, inputs: npt.NDArray[np.generic]) -> list[npt.NDArray[Any]]:
    """All outputs of a `.tflite` with one input, whose shape `inputs` are given."""
    interpreter = reference_interpreter(content)
    entry = interpreter.get_input_details()[0]
    interpreter.set_tensor(entry["index"], inputs.reshape(entry["shape"]))
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def judge_original(content: bytes, imported: Imported, inputs: Int8) -> dict[int, Int8]:
    """By index of the operation, outputs `[N, *shape]` as LiteRT computes them from the original.

    `content` is the file that `imported` was read from. Operations of which the file has no tensor
    are left out. Where it takes real numbers, it gets those that quantise to `inputs`.
    Raises `ToolchainError` if LiteRT is missing, `GraphError` if it refuses the file.
    """
    interpreter = reference_interpreter(content)
    layers = {place: number for place, number in enumerate(imported.layers) if number >= 0}
    found: dict[int, list[Int8]] = {place: [] for place in layers}
    with refusals():
        entry = interpreter.get_input_details()[0]
        fed = _as_fed(imported.model, inputs, entry["dtype"])
        for sample, integers in zip(fed, inputs, strict=True):
            interpreter.set_tensor(entry["index"], sample.reshape(entry["shape"]))
            interpreter.invoke()
            taken = interpreter.get_tensor(imported.entry).reshape(-1)
            if not np.array_equal(taken, integers.reshape(-1)):
                raise GraphError("the original quantises its own input otherwise; judge it in int8")
            for place, number in layers.items():
                found[place].append(interpreter.get_tensor(number).reshape(-1).copy())
    types = imported.model.regions[0].types
    ops = imported.model.graph.ops
    return {
        place: np.stack(samples).reshape(len(inputs), *types[ops[place].output].shape)
        for place, samples in found.items()
    }


def _as_fed(model: Model, inputs: Int8, dtype: type) -> npt.NDArray[np.generic]:
    """Inputs as the original takes them: int8, uint8, or the real numbers that they stand for."""
    if np.dtype(dtype) == np.int8:
        return inputs
    if np.dtype(dtype) == np.uint8:
        return (inputs.astype(np.int16) + 128).astype(np.uint8)
    q = quantization(model.regions[0].types[model.graph.input])
    real: npt.NDArray[np.float32] = (inputs.astype(np.float32) - q.zero_point) * np.float32(q.scale)
    return real
