"""The four networks of MLPerf Tiny as integer models, which `bench models` measures.

In: one of `kws`, `ic`, `vww`, `ad`, and, if the user has one, the model file to measure in its
place. Out: a `Model` with regions of 25, 50, 75 and 100 %. Without a file it is the network of the
recipe at full width: initial weights from a fixed seed, batch norm and activation ranges calibrated
on seeded noise. What it computes means nothing; what it costs is that of a trained one, because no
kernel's work depends on the values. Refuses, with `ConfigError`, unknown names and files whose ends
have other sizes. Making a network needs PyTorch, reading one does not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tesla_embed.data import DataSet, Split
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.store import load_model
from tesla_host.bench.names import split_names

DPS = (25, 50, 75, 100)
_SEED = 20170
_EXAMPLES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A network of MLPerf Tiny: the recipe that has it, and the sizes at its ends."""

    name: str
    title: str
    recipe: str
    source: tuple[int, ...]
    outputs: int

    @property
    def shape(self) -> str:
        """Sizes of input and output."""
        return f"{'x'.join(map(str, self.source))} -> {self.outputs}"


BENCHMARKS = (
    Benchmark(name="kws", title="DS-CNN", recipe="kws-dscnn", source=(49, 10, 1), outputs=12),
    Benchmark(
        name="ic", title="ResNet-8", recipe="cifar10-resnet8", source=(32, 32, 3), outputs=10
    ),
    Benchmark(
        name="vww", title="MobileNetV1 0.25", recipe="vww-mobilenet", source=(96, 96, 3), outputs=2
    ),
    Benchmark(name="ad", title="autoencoder", recipe="ad-autoencoder", source=(640,), outputs=640),
)


def find_benchmarks(names: str | None) -> tuple[Benchmark, ...]:
    """Those of a comma-separated list, or all. Raises `ConfigError` for an unknown name."""
    if names is None:
        return BENCHMARKS
    return tuple(_find(name) for name in split_names(names))


def parse_models(items: Sequence[str]) -> dict[str, Path]:
    """Files by the name of the network, from items `NAME=FILE`. Raises `ConfigError`."""
    found: dict[str, Path] = {}
    for item in items:
        name, sign, path = item.partition("=")
        if not sign or not path:
            raise ConfigError(f"--model {item!r} names no file; write --model kws=FILE")
        found[_find(name).name] = Path(path)
    return found


def benchmark_model(bench: Benchmark, files: Mapping[str, Path]) -> Model:
    """The network in the user's file, or the one made here. Raises `ConfigError`."""
    if bench.name not in files:
        return make_model(bench)
    path = files[bench.name]
    model = load_model(path)
    types = model.regions[-1].types
    sizes = (types[model.graph.input].size, types[model.graph.output].size)
    if sizes != (math.prod(bench.source), bench.outputs):
        raise ConfigError(
            f"{path} has {sizes[0]} inputs and {sizes[1]} outputs, {bench.name} is {bench.shape}; "
            "give a model of this benchmark"
        )
    return model


def make_model(bench: Benchmark, dps: Sequence[int] = DPS) -> Model:
    """The recipe's network with seeded weights, quantised on seeded noise; needs PyTorch."""
    import torch

    from tesla_embed.nn.networks import build
    from tesla_embed.nn.norm import recalibrate
    from tesla_embed.quant.pipeline import quantize_network
    from tesla_embed.train.recipe import load_recipe

    recipe = load_recipe(bench.recipe)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and so the last bits, depend on it
    try:
        network = build(
            recipe.network, bench.source, bench.outputs, recipe.profile, _SEED, recipe.batch_norm
        )
        data = _noise(bench)
        examples = torch.from_numpy(data.train.floats())
        recalibrate(network, lambda: [examples], dps)
        return quantize_network(network, data, bench.name, dps)
    finally:
        torch.set_num_threads(before)


def _noise(bench: Benchmark) -> DataSet:
    """Uniform bytes, the same every time; labels mean nothing."""
    rng = np.random.default_rng(_SEED)

    def split(count: int) -> Split:
        x = rng.integers(0, 256, (count, *bench.source), dtype=np.uint8)
        return Split(x, np.arange(count, dtype=np.int64) % min(bench.outputs, count))

    return DataSet("noise", split(_EXAMPLES), split(2), bench.outputs)


def _find(name: str) -> Benchmark:
    for bench in BENCHMARKS:
        if bench.name == name:
            return bench
    known = ", ".join(bench.name for bench in BENCHMARKS)
    raise ConfigError(f"{name!r} is no network to measure; there are {known}")
