"""Start a network from weights that were trained before.

In: a .safetensors file, either a checkpoint of this project or the state of a plain PyTorch module
with the same layer names. Out: how much of it was used. Whatever fits by name and shape is copied;
the classifier of another data set does not fit and keeps its initial weights. Profiles act on top
of copied weights (see `preserve` in `tesla_embed.nn.scalable`). Refuses, with `ConfigError`, files
that are no safetensors, or of which nothing fits.
"""

import hashlib
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from tesla_embed.errors import ConfigError
from tesla_embed.nn.networks import Network
from tesla_embed.nn.norm import IncompleteBatchNorm


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises `ConfigError` when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error


def load_initial(network: Network, path: Path) -> tuple[str, ...]:
    """Copy what fits from `path` into `network`; returns the names in the file that did not."""
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(f"{path} is no safetensors file ({error}); check the path") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ConfigError(f"tensor {name} of {path} holds NaN or infinity; give sound weights")
    state = network.state_dict()
    unused, used = [], 0
    statistics: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        full = name if name.startswith("body.") else f"body.{name}"
        layer, _, last = full.rpartition(".")
        if last in ("running_mean", "running_var"):
            statistics.setdefault(layer, {})[last] = tensor
        elif full in state and state[full].shape == tensor.shape and last != "profile":
            with torch.no_grad():
                state[full].copy_(tensor)
            used += 1
        elif last not in ("num_batches_tracked", "profile"):
            unused.append(name)
    for layer, found in statistics.items():
        _fill(network, layer, found)
    if not used:
        raise ConfigError(
            f"nothing in {path} fits this network: it holds {', '.join(sorted(tensors)[:3])}, ...; "
            "the layers must have the same names and sizes"
        )
    return tuple(unused)


def _fill(network: Network, name: str, found: dict[str, Tensor]) -> None:
    """Take over the running statistics of a plain batch norm, where they fit."""
    layers = dict(network.named_modules())
    layer, mean, variance = layers.get(name), found.get("running_mean"), found.get("running_var")
    if not isinstance(layer, IncompleteBatchNorm) or mean is None or variance is None:
        return
    if mean.shape == variance.shape == layer.means[-1].shape:
        layer.fill(mean, variance, 1)
