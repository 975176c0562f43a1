"""From a trained network to a float model of the intermediate representation.

In: a `Network` and the DP percentages to support. Out: a float32 `Model` with one region each;
profiles and batch norm are folded into weights, biases and per-region gains in float64. Refuses,
with `UnsupportedOp`, operations that the representation does not have, and with `ConfigError`
percentages out of range and names that are no C identifiers. A profile is folded where its equation
has it: Eq. 1 into the consumer's columns, Eq. 2 into the producer's rows.
"""

from collections.abc import Sequence

import torch

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model, Provenance
from tesla_embed.ir.verify import IDENTIFIER
from tesla_embed.nn.assemble import Assembly
from tesla_embed.nn.copies import refuse_copies
from tesla_embed.nn.networks import Network
from tesla_embed.nn.steps import trace


def to_model(
    network: Network, name: str, dps: Sequence[int], provenance: Provenance | None = None
) -> Model:
    """Export `network` as the float model `name` with a region for each of `dps` (percent).

    Weights are `[out, in]`, `[out, height, width, in]` and, for depthwise convolutions,
    `[out, height, width]`; the input tensor is `(H, W, C)` for networks of images and the flat
    vector otherwise. Raises `ConfigError` for bad names or percentages and `UnsupportedOp` for
    operations that cannot be exported.
    """
    if not IDENTIFIER.fullmatch(name):
        raise ConfigError(
            f"model name {name!r} is no C identifier of at most 63 characters; use letters, "
            "digits and _, a letter first"
        )
    if not dps or not all(1 <= dp <= 100 for dp in dps):
        raise ConfigError(f"regions {list(dps)} are out of range; give DP percentages 1 to 100")
    refuse_copies(network)
    first = next(network.parameters())
    example = torch.zeros(2, *network.input_shape, device=first.device, dtype=first.dtype)
    assembly = Assembly(trace(network.body, example), network.input_shape)
    return Model(
        name=name,
        graph=assembly.graph(),
        regions=tuple(assembly.region(dp) for dp in sorted(set(dps))),
        provenance=provenance or Provenance(),
    )
