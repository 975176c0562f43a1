"""Named tensors and one JSON header in a .safetensors file: how training keeps things.

In and out: a dictionary of tensors and the header's bytes. Never pickle. Refuses, with
`ConfigError`, files that are missing, damaged, or hold values that are not finite.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from tesla_embed import atomic
from tesla_embed.errors import ConfigError
from tesla_embed.ir.store import METADATA_KEY


class _Schema(msgspec.Struct):
    schema: str = ""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: msgspec.Struct) -> None:
    """Write tensors and header to `path` in one step; equal contents give equal bytes."""
    # One metadata key only: safetensors does not keep the order of several.
    metadata = {METADATA_KEY: msgspec.json.encode(header).decode()}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    atomic.write_bytes(path, safetensors.torch.save(whole, metadata))


def read_tensors(path: Path, schema: str, advice: str) -> tuple[dict[str, Tensor], bytes]:
    """Read the tensors (copies on the CPU) and the header of a file with this `schema`.

    `advice` ends every `ConfigError`: what to do about a file that cannot be used.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; {advice}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header: str = (file.metadata() or {}).get(METADATA_KEY, "{}")
            found = msgspec.json.decode(header, type=_Schema).schema
            if found != schema:
                raise ConfigError(
                    f"{path} has schema {found or 'of another program'}, not {schema}; {advice}"
                )
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        odd = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    except ConfigError:
        raise
    except Exception as error:  # safetensors, msgspec and torch each raise their own
        raise ConfigError(f"{path} is truncated or damaged ({error}); {advice}") from error
    if odd:
        raise ConfigError(f"tensor {odd[0]} of {path} has values that are not finite; {advice}")
    return tensors, header.encode()
