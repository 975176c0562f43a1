"""Run the host build over many samples at once, outside the serial protocol.

In: the native executable of a model and int8 inputs `[N, *input shape]`. Out: outputs, or every
layer's output. As many processes as there are processors share the samples. Raises `DeviceError`
when one fails or returns too little.
"""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import DeviceError
from tesla_embed.ir.graph import Model, Region, computing_ops

Int8 = npt.NDArray[np.int8]
_SIZE_BYTES = 4
_LEAST_SAMPLES = 16
"""With fewer for a process, starting it costs more than it saves."""


def run_batch(
    executable: Path, model: Model, region: Region, inputs: Int8, workers: int | None = None
) -> Int8:
    """Outputs `[N, *output shape]` of the generated C, in one region.

    At most `workers` processes run at a time; as many as there are processors if not told.
    """
    output = region.types[model.graph.output]
    pieces = _pieces(inputs, workers or _processors())
    with ThreadPoolExecutor(len(pieces)) as pool:
        raw = b"".join(pool.map(lambda x: _call(executable, region, x, layers=False), pieces))
    if len(raw) != len(inputs) * output.bytes:
        raise DeviceError(f"{executable}: returned {len(raw)} bytes for {len(inputs)} samples")
    return np.frombuffer(raw, np.int8).reshape(len(inputs), *output.shape)


def run_batch_layers(
    executable: Path, model: Model, region: Region, inputs: Int8
) -> dict[int, Int8]:
    """By index of the operation, every layer's output `[N, *shape]`; reshapes run no code.

    Under the last operation stands what arrived in the caller's output buffer.
    """
    steps = computing_ops(model.graph)
    types = [region.types[model.graph.ops[i].output] for i in steps]
    output = region.types[model.graph.output]
    per_sample = sum(_SIZE_BYTES + type_.bytes for type_ in types) + output.bytes
    raw = _call(executable, region, inputs, layers=True)
    if len(raw) != len(inputs) * per_sample:
        raise DeviceError(f"{executable}: returned {len(raw)} bytes for {len(inputs)} samples")
    rows = np.frombuffer(raw, np.int8).reshape(len(inputs), per_sample)
    found: dict[int, Int8] = {}
    position = 0
    for step, type_ in zip(steps, types, strict=True):
        position += _SIZE_BYTES
        found[step] = rows[:, position : position + type_.bytes].reshape(-1, *type_.shape)
        position += type_.bytes
    found[len(model.graph.ops) - 1] = rows[:, position:].reshape(-1, *output.shape)
    return found


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pieces(inputs: Int8, workers: int) -> list[Int8]:
    """The samples in order, in at most `workers` pieces worth a process each."""
    return np.array_split(inputs, max(1, min(workers, len(inputs) // _LEAST_SAMPLES)))


def _call(executable: Path, region: Region, inputs: Int8, *, layers: bool) -> bytes:
    command = [str(executable), "batch", str(region.dp), str(len(inputs))]
    command += ["--layers"] if layers else []
    try:
        done = subprocess.run(
            command, input=np.ascontiguousarray(inputs).tobytes(), capture_output=True, check=False
        )
    except OSError as error:
        raise DeviceError(f"cannot run {executable}: {error.strerror}; build it again") from error
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise DeviceError(f"{executable} failed: {reason[-1] if reason else done.returncode}")
    return done.stdout
