"""Float checkpoints: what training hands to evaluation and quantisation.

In: a trained network and how it came about. Out: one .safetensors file with its weights and a JSON
header of schema `tesla-embed/checkpoint/1`, from which the network is rebuilt. Refuses, with
`ConfigError`, files that are missing, damaged or from elsewhere, and weights that do not fit the
network in the header or are not finite.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import torch

from tesla_embed import __version__
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Provenance
from tesla_embed.nn.networks import Count, Network, assemble
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.recipe import Recipe
from tesla_embed.train.tensors import read_tensors, write_tensors

SCHEMA = "tesla-embed/checkpoint/1"
_ADVICE = "give a model.safetensors that tesla-embed train wrote"


class CheckpointInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The header: everything about a trained network except its weights.

    `input_shape` is the shape of one example, `(H, W, C)` or `(features,)`; `data` names the
    training data; algorithm, profile and seed are in the recipe.
    """

    recipe: Recipe
    input_shape: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=3)]
    classes: Count
    data: str
    tool_version: str = __version__
    schema: str = SCHEMA

    def provenance(self) -> Provenance:
        """The same for a model of the intermediate representation."""
        return Provenance(
            tool_version=self.tool_version,
            recipe=self.recipe.name,
            algorithm=self.recipe.algorithm,
            profile=self.recipe.profile,
            seed=self.recipe.seed,
            data=self.data,
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network with its trained weights, ready to run, and where it comes from."""

    network: Network
    info: CheckpointInfo


def save_checkpoint(path: Path, network: Network, info: CheckpointInfo) -> None:
    """Write a checkpoint in one step. Raises `ConfigError` when `path` cannot be written."""
    write_tensors(path, network.state_dict(), info)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint. Raises `ConfigError` saying what is wrong with the file."""
    tensors, header = read_tensors(path, SCHEMA, _ADVICE)
    try:
        info = msgspec.json.decode(header, type=CheckpointInfo)
    except msgspec.DecodeError as error:
        raise ConfigError(f"the header of {path} is malformed: {error}; {_ADVICE}") from error
    with torch.device("meta"):  # shapes only: a header may claim any size
        recipe = info.recipe
        network = assemble(
            recipe.network, info.input_shape, info.classes, recipe.profile, recipe.batch_norm
        )
        make_algorithm(recipe).prepare(network)
    check_state(path, network, tensors, _ADVICE)
    network.load_state_dict(tensors, assign=True)
    return Checkpoint(network, info)


def check_state(
    path: Path, network: Network, tensors: dict[str, torch.Tensor], advice: str
) -> None:
    """Check that `tensors` from `path` are exactly what `network` needs, else `ConfigError`."""
    expected = network.state_dict()
    odd = sorted(expected.keys() ^ tensors.keys())
    if odd:
        state = "lacks" if odd[0] in expected else "has an unknown"
        raise ConfigError(f"{path} {state} tensor {odd[0]}; {advice}")
    for name, tensor in tensors.items():
        want = expected[name]
        if tensor.shape != want.shape or tensor.dtype != want.dtype:
            raise ConfigError(
                f"tensor {name} of {path} is {tensor.dtype} {tuple(tensor.shape)}, the network in "
                f"its header needs {want.dtype} {tuple(want.shape)}; {advice}"
            )
