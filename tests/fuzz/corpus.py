"""Whole files for the fuzzer to damage."""

import io
import tempfile
from pathlib import Path

import numpy as np
from foreign import autoencoder, random_file, random_floats
from graphs import extreme_model, float_model, narrow_model, quantized_model

from fuzz.files import SAMPLE
from tesla_embed.ir.store import save_model
from tesla_embed.nn.networks import build
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.checkpoint import CheckpointInfo, save_checkpoint
from tesla_embed.train.recipe import load_recipe

_SMALL = ("network.hidden=[6, 4]", "network.scalable=[true, true]")
_RECIPES = (
    ("digits-mlp", _SMALL),
    ("digits-cnn", ()),
    ("cifar10-resnet8", ("network.width=0.1",)),
    ("kws-dscnn", ("network.kernel=[3, 3]", "network.padding=[1, 1]", "network.channels=6")),
    ("digits-mlp", (*_SMALL, "algorithm=mp-idp")),
)
"""Vectors, images, additions, depthwise filters, and copies of layers for ranges of percentages."""


def make(count: int) -> dict[str, list[bytes]]:
    """Files of every kind, by suffix; each time the same."""
    found = {
        ".tflite": [random_file(seed) for seed in range(count)]
        + [autoencoder(0)]
        + [random_floats(seed) for seed in range(count // 3)],
        ".npy": [_inputs(seed) for seed in range(count)],
        ".csv": [_trace(seed) for seed in range(count)],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        stored = []
        for seed in range(count):
            kind = (quantized_model, extreme_model, float_model, narrow_model)[seed % 4]
            save_model(path, kind(seed))
            stored.append(path.read_bytes())
        trained = [_checkpoint(path, *_RECIPES[seed % len(_RECIPES)]) for seed in range(count)]
    return found | {".safetensors": stored, ".checkpoint": trained}


def _trace(seed: int) -> bytes:
    """What one of three current probes exports, of a few pulses."""
    rng = np.random.default_rng(seed)
    header, row = (
        ("Timestamp(ms),Current(uA),D0-D7", "{t:.3f},{i:.3f},{m}0000000"),
        ("#time (s),current (A),voltage (V),gpi0", "{t:.9f},{i:.6e},3.3,{m}"),
        ("time[us];I[mA];marker", "{t};{i};{m}"),
    )[seed % 3]
    marker = np.repeat(np.arange(8) % 2, rng.integers(1, 6, 8))
    current = rng.uniform(0.001, 20, len(marker))
    rows = (
        row.format(t=n / 100, i=value, m=high)
        for n, (value, high) in enumerate(zip(current, marker, strict=True))
    )
    return "\n".join((header, *rows, "")).encode()


def _inputs(seed: int) -> bytes:
    """A batch of examples, of one of the types that `run` takes."""
    rng = np.random.default_rng(seed)
    kind = ("int8", "uint8", "float32", "float64", ">f4", "float16")[seed % 6]
    shape = ((4, *SAMPLE), (2, *SAMPLE[::-1]), (3, SAMPLE[0] * SAMPLE[1]))[seed % 3]
    values = rng.normal(0, 40, shape)
    values = values if np.dtype(kind).kind == "f" else np.clip(values, 0, 127)
    file = io.BytesIO()
    np.save(file, np.asarray(values.astype(kind), order="CF"[seed % 2]))
    return file.getvalue()


def _checkpoint(path: Path, name: str, changes: tuple[str, ...]) -> bytes:
    """An untrained network as `train` would store it."""
    recipe = load_recipe(name, list(changes))
    network = build(recipe.network, (8, 8, 1), 10, recipe.profile, 0, recipe.batch_norm)
    make_algorithm(recipe).prepare(network)
    info = CheckpointInfo(recipe=recipe, input_shape=(8, 8, 1), classes=10, data="digits")
    save_checkpoint(path, network, info)
    return path.read_bytes()
