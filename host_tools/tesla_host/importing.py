"""Import a network from whatever it is stored in."""

import dataclasses
from pathlib import Path

from tesla_embed.errors import ConfigError
from tesla_embed.tflite.importer import Imported, import_file, import_tflite, model_name, provenance
from tesla_embed.tflite.keras import convert, is_keras


def import_network(path: Path, name: str | None, data: str | None, samples: int) -> Imported:
    """An int8 `.tflite`, or a Keras network that is quantised on `samples` examples of `data`.

    Raises `ConfigError` without data where they are needed, and what reading and converting raise.
    """
    if not is_keras(path):
        return import_file(path, name)
    if data is None:
        raise ConfigError(f"{path}: is to be quantised; give data to calibrate on with --data")
    from tesla_embed.data import load_data

    examples = load_data(data).train.floats(slice(0, samples))
    found = import_tflite(convert(path, examples), name or model_name(path.name))
    model = dataclasses.replace(found.model, provenance=provenance(path))
    return dataclasses.replace(found, model=model)
