"""The file that a model was imported from, to compare the model with."""

from dataclasses import dataclass
from pathlib import Path

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.store import digest
from tesla_embed.tflite.importer import Imported, import_file


@dataclass(frozen=True, slots=True)
class Original:
    """A `.tflite`, and what is read from it."""

    content: bytes
    imported: Imported


def load_original(path: Path, model: Model) -> Original:
    """Read the file at `path`, of which `model` was made. Raises `ConfigError` if it was not."""
    imported = import_file(path, model.name)
    if digest(imported.model) != digest(model):
        raise ConfigError(
            f"{path}: is not what {model.name} was imported from; import it again, or name the "
            "right file"
        )
    return Original(path.read_bytes(), imported)
