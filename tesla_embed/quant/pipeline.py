"""From a trained network and data to the integer model, in one call."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tesla_embed import __version__
from tesla_embed.data import DataSet
from tesla_embed.ir.graph import FloatAnswers, Model, Provenance
from tesla_embed.nn.export import to_model
from tesla_embed.nn.networks import Network
from tesla_embed.quant.calibrate import calibrate
from tesla_embed.quant.equalize import equalize
from tesla_embed.quant.quantize import quantize
from tesla_embed.train.checkpoint import Checkpoint
from tesla_embed.train.evaluate import evaluate


def quantize_checkpoint(
    checkpoint: Checkpoint, data: DataSet, dps: Sequence[int], samples: int = 1000
) -> Model:
    """Quantise a trained network for the regions `dps`, calibrated on `samples` training examples.

    Raises `ConfigError` when the data do not fit the network, `QuantizationError` when integers
    cannot represent it.
    """
    name = checkpoint.info.recipe.name.replace("-", "_")
    provenance = checkpoint.info.provenance()
    return quantize_network(checkpoint.network, name, data, dps, samples, provenance)


def quantize_network(
    network: Network,
    name: str,
    data: DataSet,
    dps: Sequence[int],
    samples: int = 1000,
    provenance: Provenance | None = None,
) -> Model:
    """The same for a network that was trained elsewhere; `name` is the model's, a C identifier.

    What the float network answers to the whole test split goes into the model's provenance, so that
    whoever measures the integers later can compare.
    """
    scores = evaluate(network, data.test, dps)
    known = dataclasses.replace(
        provenance or Provenance(),
        tool_version=__version__,
        float_answers=tuple(
            FloatAnswers.of(dp, correct) for dp, correct in sorted(scores.correct.items())
        ),
        test_fingerprint=data.test.fingerprint(),
    )
    model = to_model(network, name, dps, known)
    chosen = _spread(len(data.train), samples)
    shape = model.graph.tensors[model.graph.input].type.shape
    inputs = data.train.floats(chosen).reshape(len(chosen), *shape)
    image_range = (0.0, 1.0) if data.train.x.dtype == np.uint8 else None
    balanced = equalize(model, inputs)
    return quantize(balanced, calibrate(balanced, inputs, image_range))


def _spread(available: int, wanted: int) -> np.ndarray:
    """Indices of `wanted` examples, evenly spread over all that are available."""
    return np.linspace(0, available - 1, min(available, wanted)).astype(np.int64)
