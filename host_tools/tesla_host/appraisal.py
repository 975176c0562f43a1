"""What a choice of quantisation costs and what it keeps: bytes on the device, and accuracy.

In: an integer model and labelled test examples. Out: an `Appraisal`. Bytes are those of the
generated C; accuracy is the integer interpreter's, which is the device's bit for bit.
"""

from dataclasses import dataclass

from tesla_codegen.lower import lower
from tesla_embed.data import DataSet
from tesla_embed.ir.graph import Model
from tesla_embed.nn.zoo.plan import Task
from tesla_embed.quant.score import accuracy


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
        found = accuracy(model, data.test.floats(first), data.test.y[first], task)
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
