"""From a trained network and data to the integer model, in one call."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from tesla_embed import __version__
from tesla_embed.data import DataSet, spread
from tesla_embed.ir.graph import FloatAnswers, Model, Provenance
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.quant.calibrate import calibrate
from tesla_embed.quant.equalize import equalize
from tesla_embed.quant.mixed import weights_bytes, within_budget, within_loss
from tesla_embed.quant.options import QatOptions, QuantizeOptions
from tesla_embed.quant.qat import fine_tune
from tesla_embed.quant.quantize import quantize
from tesla_embed.quant.refine import Refinement, layer_losses, narrowable, refine
from tesla_embed.quant.score import accuracy
from tesla_embed.train.checkpoint import Checkpoint
from tesla_embed.train.evaluate import check_fit, evaluate

Float32 = npt.NDArray[np.float32]
Observer = Callable[[str, float], None]
"""Told what is being done and how much of it is done, 0 to 1."""
_JUDGED = 1000
"""Training examples that judge how much accuracy fewer bits lose."""
_BATCH = 500


def quantize_checkpoint(
    checkpoint: Checkpoint,
    data: DataSet,
    dps: Sequence[int],
    options: QuantizeOptions = QuantizeOptions(),  # noqa: B008 - immutable
    observer: Observer | None = None,
) -> Model:
    """Quantise a trained network for the regions `dps` (percent).

    Raises `ConfigError` when the data do not fit the network, `QuantizationError` when integers
    cannot represent it as asked.
    """
    name = checkpoint.info.recipe.name.replace("-", "_")
    provenance = checkpoint.info.provenance()
    return quantize_network(checkpoint.network, data, name, dps, options, provenance, observer)


def quantize_network(
    network: Network,
    data: DataSet,
    name: str,
    dps: Sequence[int],
    options: QuantizeOptions = QuantizeOptions(),  # noqa: B008 - immutable
    provenance: Provenance | None = None,
    observer: Observer | None = None,
) -> Model:
    """Quantise any trained network for the regions `dps` (percent), as the model `name`.

    Calibrated on examples of the training split. What the float network answers to the whole test
    split goes into the model's provenance, so that whoever measures the integers later can compare.
    Raises as `quantize_checkpoint`.
    """
    scores = evaluate(network, data.test, dps)
    known = dataclasses.replace(
        provenance or Provenance(),
        tool_version=__version__,
        float_answers=tuple(
            FloatAnswers.of(dp, correct) for dp, correct in sorted(scores.correct.items())
        ),
        test_fingerprint=data.test.fingerprint(),
        calibration_samples=options.samples,
    )
    tell = observer or (lambda _what, _share: None)
    plain, inputs = prepare(network, data, name, dps, options.samples, known)
    image_range = (0.0, 1.0) if data.train.x.dtype == np.uint8 else None
    tell("calibrating", 0.0)
    model = quantize(plain, calibrate(plain, inputs, image_range, options.calibration))
    model = _reduced(plain, model, inputs, network, data, options, tell)
    if options.qat is not None:
        model = _trained(plain, model, network, data, options.qat, tell)
    return model


def prepare(
    network: Network,
    data: DataSet,
    name: str,
    dps: Sequence[int],
    samples: int,
    provenance: Provenance | None = None,
) -> tuple[Model, Float32]:
    """The equalised float model, and `samples` training examples to calibrate on, as it takes them.

    Raises `ConfigError` when the data do not fit the network.
    """
    check_fit(network, data.train)
    model = to_model(network, name, dps, provenance)
    chosen = spread(len(data.train), samples)
    inputs = _shaped(model, data.train.floats(chosen))
    return equalize(model, inputs), inputs


def _reduced(
    plain: Model,
    model: Model,
    inputs: Float32,
    network: Network,
    data: DataSet,
    options: QuantizeOptions,
    tell: Observer,
) -> Model:
    """Fewer bits and corrected biases, as the options want them."""
    wanted = options.reduction

    def refined(narrow: Sequence[int]) -> Model:
        choice = Refinement(
            narrow=narrow,
            rounding=wanted.rounding,
            own_scales=options.calibration.tables == "region",
            bias_correction=options.bias_correction,
        )
        return refine(plain, model, inputs, choice)

    if wanted.bits == "int8":
        return refined(())
    tell("reducing weights", 0.0)
    if wanted.bits == "int4":
        return refined(narrowable(model))
    losses = layer_losses(plain, model, inputs)
    if wanted.budget_bytes is not None:
        return refined(within_budget(losses, weights_bytes(model), wanted.budget_bytes))
    assert wanted.max_loss is not None
    x, y = _apart(data, len(inputs))
    full = accuracy(refined(()), x, y, network.task)

    def lost(narrow: Sequence[int]) -> float:
        found = accuracy(refined(narrow), x, y, network.task)
        return max(full[dp] - found[dp] for dp in full)

    return refined(within_loss(losses, lost, wanted.max_loss / 100))


def _trained(
    plain: Model, model: Model, network: Network, data: DataSet, options: QatOptions, tell: Observer
) -> Model:
    """The integers after training against the float network's answers."""
    x = data.train.floats(spread(len(data.train), options.samples))
    answers = {region.dp: _answers(network, x, region.dp) for region in model.regions}

    def progress(share: float) -> None:
        tell("training the integers", share)

    return fine_tune(plain, model, _shaped(model, x), answers, network.imitation, options, progress)


def _answers(network: Network, x: Float32, dp: int) -> Float32:
    """Outputs `[N, outputs]` of the float network."""
    set_dp(network, dp)
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        pieces = [
            network(torch.from_numpy(x[start : start + _BATCH]).to(device)).cpu().numpy()
            for start in range(0, len(x), _BATCH)
        ]
    return np.concatenate(pieces)


def _apart(data: DataSet, calibrated: int) -> tuple[Float32, npt.NDArray[np.int64]]:
    """Training examples and labels that did not calibrate, where there are others."""
    used = spread(len(data.train), calibrated)
    others = np.setdiff1d(np.arange(len(data.train)), used)
    chosen = others[spread(len(others), _JUDGED)] if len(others) else used
    return data.train.floats(chosen), data.train.y[chosen]


def _shaped(model: Model, x: Float32) -> Float32:
    return x.reshape(len(x), *model.graph.tensors[model.graph.input].type.shape)
