"""Float models with batch norm that has statistics of its own in every region."""

import numpy as np
import numpy.typing as npt
import torch
from modules import images, plain_module
from torch import nn

from tesla_embed.ir.graph import Model
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import ChannelsFirst
from tesla_embed.nn.networks import Network, build
from tesla_embed.nn.norm import recalibrate
from tesla_embed.nn.scalable import make_scalable
from tesla_embed.train.recipe import load_recipe

ROWS = (30, 60, 100)
DPS = (10, 30, 60, 100)


def norm_network(kind: str, seed: int) -> tuple[Network, npt.NDArray[np.float32]]:
    """A network of a small module, or a narrow one of a recipe, and inputs `[16, 8, 8, 3]`."""
    x = images(16, seed).permute(0, 2, 3, 1).contiguous()
    if "-" in kind:
        recipe = load_recipe(kind, ["network.width=0.2", "profile=linear"])
        network = build(recipe.network, (8, 8, 3), 4, recipe.profile, seed, recipe.batch_norm)
        rows = (50, 100)
    else:
        whole = nn.Sequential(ChannelsFirst(), plain_module(kind, seed))
        network = Network(make_scalable(whole, x, profile="linear", rows=ROWS), (8, 8, 3), 4)
        rows = ROWS
    network.eval()
    with torch.random.fork_rng():
        recalibrate(network, lambda: [x], rows)
    return network, x.numpy()


def norm_model(kind: str, seed: int) -> tuple[Model, npt.NDArray[np.float32]]:
    """The float model of `norm_network` with the regions `DPS`, and inputs."""
    network, x = norm_network(kind, seed)
    return to_model(network, "net", DPS), x
