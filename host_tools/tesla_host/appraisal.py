"""What a choice of quantisation costs and what it keeps: bytes on the device, and accuracy.

In: an integer model and labelled test examples. Out: an `Appraisal`. Bytes are those of the
generated C. Accuracy is that of the same C on this machine, or the integer interpreter's where that
takes no longer or there is no C compiler; the device's bits are the same.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tesla_codegen.lower import lower
from tesla_codegen.project import generate
from tesla_embed.data import DataSet
from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model, region_macs
from tesla_embed.ir.interpret import interpret
from tesla_embed.nn.zoo.plan import Task
from tesla_embed.quant.score import Run, accuracy
from tesla_host.batch import run_batch
from tesla_host.build import build_firmware

_WORTH_BUILDING = 10**9
"""Multiply-accumulates that take the interpreter about as long as a compiler needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """`weights_bytes` and `table_bytes` of flash; `accuracy` (0 to 1) by DP percentage.

    `reference` is what the float network reaches on the same `samples` test examples. Both are
    empty if nothing was measured; the reference also for networks that do not classify.
    """

    weights_bytes: int
    table_bytes: int
    samples: int
    accuracy: dict[int, float]
    reference: dict[int, float]


def appraise(model: Model, data: DataSet, samples: int, task: Task = "classify") -> Appraisal:
    """Count the bytes of `model`, and its right answers on the first `samples` test examples.

    With no samples nothing is measured. Raises `GraphError` if the model breaks a rule.
    """
    project = lower(model)
    count = min(samples, len(data.test))
    found: dict[int, float] = {}
    reference: dict[int, float] = {}
    if count:
        first = slice(0, count)
        with fastest(model, count) as run:
            found = accuracy(model, data.test.floats(first), data.test.y[first], task, run=run)
        answers = model.provenance.float_answers
        if model.provenance.test_fingerprint == data.test.fingerprint():
            reference = {entry.dp: entry.accuracy(count) for entry in answers}
    return Appraisal(
        weights_bytes=project.weights_bytes,
        table_bytes=project.region_table_bytes,
        samples=count,
        accuracy=found,
        reference=reference,
    )


@contextlib.contextmanager
def fastest(model: Model, samples: int) -> Iterator[Run]:
    """What computes so many samples in every region soonest: the C, or the interpreter."""
    work = samples * sum(sum(region_macs(model.graph, region)) for region in model.regions)
    with tempfile.TemporaryDirectory(prefix="tesla-embed-") as name:
        elf = _native(model, Path(name)) if work >= _WORTH_BUILDING else None
        if elf is None:
            yield interpret
        else:
            built = elf
            yield lambda model, region, inputs: run_batch(built, model, region, inputs)


def _native(model: Model, folder: Path) -> Path | None:
    """The C of `model`, compiled for this machine; `None` where no compiler does it."""
    generate(model, folder / "project")
    try:
        return build_firmware(folder / "project", "host", folder / "host").elf
    except ToolchainError:
        return None
