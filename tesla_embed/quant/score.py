"""How good an integer model's answers are, as `tesla_embed.train.evaluate` counts for floats.

In: an integer model, examples and labels. Out: accuracy by region, 0 to 1; of a network that
reconstructs its input, the share of the variance that it explains.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.nn.zoo.plan import Task

Int8 = npt.NDArray[np.int8]
Run = Callable[[Model, Region, Int8], Int8]
"""Whatever computes outputs `[N, *output shape]` of inputs `[N, *input shape]`, bit for bit."""


def accuracy(
    model: Model,
    inputs: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    task: Task = "classify",
    regions: Iterable[Region] | None = None,
    run: Run = interpret,
) -> dict[int, float]:
    """By DP percentage, the score on `inputs` `[N, *example shape]` with `labels` `[N]`.

    `run` computes the outputs; the integer interpreter defines them.
    """
    entry = model.regions[0].types[model.graph.input]
    integers = quantize_input(entry, inputs)
    found = {}
    for region in model.regions if regions is None else regions:
        outputs = run(model, region, integers).reshape(len(inputs), -1)
        if task == "classify":
            found[region.dp] = float((outputs.argmax(axis=1) == labels).mean())
            continue
        q = quantization(region.types[model.graph.output])
        flat = inputs.reshape(len(inputs), -1).astype(np.float64)
        error = np.square((outputs.astype(np.float64) - q.zero_point) * q.scale - flat).mean()
        found[region.dp] = max(0.0, 1.0 - float(error / max(flat.var(axis=0).mean(), 1e-30)))
    return found
