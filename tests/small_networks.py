"""Networks small enough to train in a blink, for tests of training algorithms."""

import torch

from tesla_embed.nn.networks import Network, build
from tesla_embed.train.algorithms import make_algorithm
from tesla_embed.train.recipe import Recipe, load_recipe

SMALL = [
    "hidden=[12]", "scalable=[true]", "max_epochs=2", "tasks=[100, 30]", "batch=256",
    "max_epoch=4", "ranges=[30, 60, 100]", "budget.epochs=2", "individual.regions=[20, 50, 100]",
    "threads=1",
]  # fmt: skip
DIGITS_SHAPE = (8, 8, 1)

DEEP = ["hidden=[12, 10]", "scalable=[true, true]"]


def small(algorithm: str, *changes: str) -> Recipe:
    """A recipe for the digits."""
    return load_recipe("digits-mlp", [*SMALL, f"algorithm={algorithm}", *changes])


def network_for(recipe: Recipe) -> Network:
    """The network that training by `recipe` begins with."""
    network = build(recipe.network, DIGITS_SHAPE, 10, recipe.profile, recipe.seed)
    make_algorithm(recipe).prepare(network)
    return network


def batch(size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples `[size, 8, 8, 1]` and labels."""
    x = torch.rand(size, *DIGITS_SHAPE, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(size) % 10
