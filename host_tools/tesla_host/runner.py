"""Run a model on a batch of inputs, wherever it runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.interpret import interpret
from tesla_host.batch import run_batch
from tesla_host.workbench import Observer, ignore, set_up

Int8 = npt.NDArray[np.int8]
INTERPRETER = "interpreter"
"""The target that needs nothing: the integer interpreter."""


def run_model(
    model: Model,
    region: Region,
    inputs: Int8,
    target: str,
    folder: Callable[[], Path],
    observer: Observer = ignore,
    toolchain: str | None = None,
) -> Int8:
    """Outputs `[N, *output shape]` of `inputs` `[N, *input shape]` in one region.

    `target` is the interpreter, or what `targets` lists; `folder` is asked for a place to build in
    only if something is built; `toolchain` is one of the target's. Raises what building and the
    link raise.
    """
    if target == INTERPRETER:
        return interpret(model, region, inputs)
    observer("building", 0.0)
    bench = set_up(model, target, folder(), toolchain)
    if bench.is_host:
        return run_batch(bench.host.elf, model, region, inputs)
    shape = region.types[model.graph.output].shape
    outputs = np.empty((len(inputs), *shape), np.int8)
    with bench.connect() as client:
        client.set_dp(region.dp)
        for number, sample in enumerate(inputs):
            observer(f"sample {number + 1} of {len(inputs)}", number / len(inputs))
            outputs[number] = np.frombuffer(client.infer(sample.tobytes()), np.int8).reshape(shape)
    return outputs
