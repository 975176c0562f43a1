"""Whole files for the fuzzer to damage."""

import tempfile
from pathlib import Path

from foreign import autoencoder, random_file
from graphs import extreme_model, float_model, quantized_model

from tesla_embed.ir.store import save_model


def make(count: int) -> dict[str, list[bytes]]:
    """Files of every kind, by suffix; each time the same."""
    found = {".tflite": [random_file(seed) for seed in range(count)] + [autoencoder(0)]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        stored = []
        for seed in range(count):
            kind = (quantized_model, extreme_model, float_model)[seed % 3]
            save_model(path, kind(seed))
            stored.append(path.read_bytes())
    return found | {".safetensors": stored}
