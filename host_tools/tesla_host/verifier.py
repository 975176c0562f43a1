"""The exactness contract: everything that runs a model agrees with the integer interpreter.

In: a workbench and int8 inputs. Out: a `Verification`, one `Check` per region and implementation.
A mismatch is located: the first sample, layer and element that differ, with both values.
"""

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.interpret import interpret_layers
from tesla_embed.tflite.builder import object_api
from tesla_host.batch import run_batch_layers
from tesla_host.divergence import Layers, dump_layers, locate
from tesla_host.judge import judge_layers, judge_original
from tesla_host.link.client import LinkClient
from tesla_host.original import Original
from tesla_host.results import Check, Verification
from tesla_host.workbench import Observer, Workbench, ignore

Int8 = npt.NDArray[np.int8]
_SEED = 20170


def random_inputs(model: Model, count: int) -> Int8:
    """Seeded int8 inputs over the whole range: half of them uniform, half of them extreme."""
    rng = np.random.default_rng(_SEED)
    shape = (count, *model.graph.tensors[model.graph.input].type.shape)
    uniform = rng.integers(-128, 128, shape)
    extreme = rng.choice(np.array([-128, 127]), shape)
    half = np.arange(count).reshape(-1, *[1] * (len(shape) - 1)) % 2
    return np.where(half == 0, uniform, extreme).astype(np.int8)


def verify_bench(
    bench: Workbench,
    inputs: Int8,
    device_samples: int,
    observer: Observer = ignore,
    original: Original | None = None,
) -> Verification:
    """Compare host C, LiteRT and the target's firmware with the interpreter, in every region.

    `inputs` are `[N, *input shape]`; the first `device_samples` also go through the link. With
    `original`, LiteRT also runs the file that the model was imported from; where nothing can write
    the region as a .tflite, it runs only that.
    """
    model = bench.model
    checks: list[Check] = []
    exported = original is None or _can_export()
    with bench.connect() as client:
        for number, region in enumerate(model.regions):
            observer(f"{region.dp} % DP", number / len(model.regions))
            truth = dict(enumerate(interpret_layers(model, region, inputs)))
            host = run_batch_layers(bench.host.elf, model, region, inputs)
            checks.append(_compare(model, region, "host", truth, host))
            if exported:
                judge = dict(enumerate(judge_layers(model, region, inputs)))
                checks.append(_compare(model, region, "litert", truth, judge))
            if original is not None:
                found = judge_original(original.content, original.imported, inputs)
                checks.append(_compare(model, region, "original", truth, found))
            if not bench.is_host:
                checks.append(_check_device(bench, client, region, truth, inputs[:device_samples]))
    exact = all(check.mismatches == 0 for check in checks)
    return Verification(bit_exact=exact, checks=checks)


def _can_export() -> bool:
    try:
        object_api()
    except ToolchainError:
        return False
    return True


def _compare(model: Model, region: Region, against: str, truth: Layers, found: Layers) -> Check:
    """Count samples whose output differs in any layer; locate the first difference."""
    samples = len(next(iter(found.values())))
    wrong = np.zeros(samples, bool)
    for index, values in found.items():
        wrong |= (values != truth[index][:samples]).reshape(samples, -1).any(axis=1)
    first = None
    if wrong.any():
        first = locate(model, int(np.argmax(wrong)), truth, found)
    return Check(
        dp=region.dp, against=against, samples=samples, mismatches=int(wrong.sum()), first=first
    )


def _check_device(
    bench: Workbench, client: LinkClient, region: Region, truth: Layers, inputs: Int8
) -> Check:
    """Send samples through the link; dump all layers of the first whose output is wrong."""
    model = bench.model
    last = len(model.graph.ops) - 1
    shape = region.types[model.graph.output].shape
    client.set_dp(region.dp)
    outputs = [np.frombuffer(client.infer(x.tobytes()), np.int8).reshape(shape) for x in inputs]
    check = _compare(model, region, bench.target, truth, {last: np.stack(outputs)})
    if check.first is not None:
        sample = check.first.sample
        client.load_input(inputs[sample].tobytes())
        check.first = locate(model, sample, truth, dump_layers(client, model, region, sample)) or (
            check.first
        )
    return check
