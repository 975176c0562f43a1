"""Where what a firmware computes leaves the integer interpreter: layer, element and both values.

In: a model, one of its regions, inputs `[N, *input shape]`, and outputs of layers by the index of
the operation, from the interpreter and from elsewhere. Out: a `Divergence`, or the `WrongOutput`
to raise.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import WrongOutput
from tesla_embed.ir.graph import Model, Region, computing_ops
from tesla_embed.ir.interpret import interpret_layers
from tesla_host.link.client import LinkClient
from tesla_host.results import Divergence

Int8 = npt.NDArray[np.int8]
Layers = Mapping[int, Int8]


def locate(model: Model, sample: int, truth: Layers, found: Layers) -> Divergence | None:
    """The first element of the first layer of `found` that differs in a sample."""
    for index in sorted(found):
        expected, got = truth[index][sample].reshape(-1), found[index][sample].reshape(-1)
        differs = np.flatnonzero(expected != got)
        if len(differs):
            at = int(differs[0])
            return Divergence(
                sample=sample,
                layer=model.graph.ops[index].name,
                index=at,
                expected=int(expected[at]),
                found=int(got[at]),
            )
    return None


def dump_layers(client: LinkClient, model: Model, region: Region, sample: int = 0) -> Layers:
    """Every layer's output of the loaded input, at position `sample` of otherwise empty arrays."""
    layers: dict[int, Int8] = {}
    for layer, step in enumerate(computing_ops(model.graph)):
        shape = region.types[model.graph.ops[step].output].shape
        values = np.zeros((sample + 1, *shape), np.int8)
        values[sample] = np.frombuffer(client.layer_dump(layer), np.int8).reshape(shape)
        layers[step] = values
    return layers


def wrong_output(
    name: str,
    model: Model,
    region: Region,
    inputs: Int8,
    output: bytes,
    *,
    client: LinkClient | None = None,
    place: int = -1,
) -> WrongOutput:
    """What to raise for an `output` of operation `place` that is not the interpreter's.

    `inputs` is `[1, *input shape]`. With `client`, where it is loaded, every layer is looked at.
    """
    truth = dict(enumerate(interpret_layers(model, region, inputs)))
    place %= len(model.graph.ops)
    first = None if client is None else locate(model, 0, truth, dump_layers(client, model, region))
    if first is None and len(output) == truth[place].size:
        found = np.frombuffer(output, np.int8).reshape(truth[place].shape)
        first = locate(model, 0, truth, {place: found})
    where = f"{name}: wrong output at {region.dp} % DP"
    if first is None:
        return WrongOutput(f"{where}: {len(output)} bytes instead of {truth[place].size}")
    return WrongOutput(
        f"{where}: layer {first.layer}, element {first.index}: {first.found} instead of "
        f"{first.expected}"
    )
