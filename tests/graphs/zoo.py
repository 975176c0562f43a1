"""The networks of MLPerf Tiny as our recipes have them, at full width, with seeded weights.

Nothing is trained, but everything that a trained network has is there: batch norm has statistics of
its own in every region, so that no region's tables are another's, and activations were calibrated
on synthetic inputs.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from tesla_embed.ir.graph import Model
from tesla_embed.nn.export import to_model
from tesla_embed.nn.networks import build
from tesla_embed.nn.norm import norms, recalibrate
from tesla_embed.quant import calibrate, quantize
from tesla_embed.train.recipe import load_recipe

DPS = tuple(range(10, 101, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One network: its recipe, the shape of an example, and the number of outputs."""

    recipe: str
    shape: tuple[int, ...]
    classes: int


ZOO = {
    "kws": Benchmark(recipe="kws-dscnn", shape=(49, 10, 1), classes=12),
    "ic": Benchmark(recipe="cifar10-resnet8", shape=(32, 32, 3), classes=10),
    "vww": Benchmark(recipe="vww-mobilenet", shape=(96, 96, 3), classes=2),
    "ad": Benchmark(recipe="ad-autoencoder", shape=(640,), classes=640),
}
"""By the name of the benchmark."""


@cache
def zoo_model(name: str, dps: tuple[int, ...] = DPS) -> Model:
    """The quantised model of a benchmark, called by its name, with a region for each of `dps`."""
    row = ZOO[name]
    recipe = load_recipe(row.recipe, [])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(
            recipe.network, row.shape, row.classes, recipe.profile, 0, recipe.batch_norm
        )
        inputs = np.random.default_rng(0).random((4, *row.shape)).astype(np.float32)
        network.eval()
        if any(True for _ in norms(network)):
            recalibrate(network, lambda: [torch.from_numpy(inputs)], dps)
    model = to_model(network, name, dps)
    return quantize(model, calibrate(model, inputs))
