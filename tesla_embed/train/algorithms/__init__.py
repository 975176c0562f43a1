"""The training algorithms, by the name recipes use.

To add one: write a module with a subclass of `Algorithm` whose docstring cites its source, give it
a table of options in `Recipe` if it needs any, and enter it here.
"""

from tesla_embed.errors import ConfigError
from tesla_embed.train.algorithms.base import Algorithm
from tesla_embed.train.algorithms.idp import Idp
from tesla_embed.train.algorithms.tesla import Tesla
from tesla_embed.train.recipe import Recipe

ALGORITHMS: dict[str, type[Algorithm]] = {"tesla": Tesla, "idp": Idp}


def make_algorithm(recipe: Recipe) -> Algorithm:
    """The algorithm that a recipe names; `ConfigError` lists what exists otherwise."""
    algorithm = ALGORITHMS.get(recipe.algorithm)
    if algorithm is None:
        known = ", ".join(ALGORITHMS)
        raise ConfigError(f"algorithm {recipe.algorithm!r} is not known; choose one of {known}")
    return algorithm(recipe)
