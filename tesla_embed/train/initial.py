"""Start a network from weights that were trained before.

In: a .safetensors file, either a checkpoint of this project or the state of a plain PyTorch module
with the same layer names. Out: how much of it was used. Whatever fits by name and shape is copied;
the classifier of another data set does not fit and keeps its initial weights. Profiles act on top
of copied weights (see `preserve` in `tesla_embed.nn.scalable`). The weights of a pruned checkpoint
fit a network of its widths, which `adopt_widths` makes of a recipe. Refuses, with `ConfigError`,
files that are no safetensors, or of which nothing fits, and widths that contradict the recipe's.
"""

import hashlib
from pathlib import Path

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from tesla_embed.errors import ConfigError
from tesla_embed.ir.store import METADATA_KEY
from tesla_embed.nn.networks import Count, Network
from tesla_embed.nn.norm import IncompleteBatchNorm
from tesla_embed.train.recipe import Recipe


class _Network(msgspec.Struct):
    widths: dict[str, Count] = {}


class _Recipe(msgspec.Struct):
    network: _Network = msgspec.field(default_factory=_Network)


class _Header(msgspec.Struct):
    """The part of a checkpoint's header that decides how wide its layers are."""

    recipe: _Recipe = msgspec.field(default_factory=_Recipe)


def adopt_widths(recipe: Recipe, path: Path) -> Recipe:
    """`recipe` with the widths of the pruned checkpoint in `path`; as it is for any other file.

    Raises `ConfigError`, also when the recipe has other widths of its own.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(METADATA_KEY, "{}")
        widths = msgspec.json.decode(header, type=_Header).recipe.network.widths
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(
            f"{path}: no valid safetensors file (truncated or damaged: {error}); check the path"
        ) from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"the header of {path} is malformed: {error}; check the path") from error
    own = recipe.network.widths
    if not widths or own == widths:
        return recipe
    if own:
        raise ConfigError(
            f"network.widths of the recipe are not those of {path}; leave them out of the recipe"
        )
    network = msgspec.structs.replace(recipe.network, widths=widths)
    return msgspec.structs.replace(recipe, network=network)


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
