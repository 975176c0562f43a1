"""The training algorithms, by the name recipes use.

To add one: write a module with a subclass of `Algorithm` whose docstring cites its source, give it
a table of options in `Recipe` if it needs any, and enter it here.
"""

from tesla_embed.errors import ConfigError
from tesla_embed.nn.profiles import TRAINABLE
from tesla_embed.train.algorithms.base import Algorithm
from tesla_embed.train.algorithms.idp import Idp
from tesla_embed.train.algorithms.individual import Individual
from tesla_embed.train.algorithms.mp_idp import MultipleProfileIdp
from tesla_embed.train.algorithms.r_tesla import RandomizedTesla
from tesla_embed.train.algorithms.tesla import Tesla
from tesla_embed.train.algorithms.universal import Universal
from tesla_embed.train.recipe import Recipe

ALGORITHMS: dict[str, type[Algorithm]] = {
    "tesla": Tesla,
    "idp": Idp,
    "r-tesla": RandomizedTesla,
    "mp-idp": MultipleProfileIdp,
    "universal": Universal,
    "individual": Individual,
}


def find_algorithm(name: str) -> type[Algorithm]:
    """The algorithm of this name; `ConfigError` lists what exists otherwise."""
    algorithm = ALGORITHMS.get(name)
    if algorithm is None:
        known = ", ".join(ALGORITHMS)
        raise ConfigError(f"algorithm {name!r} is not known; choose one of {known}")
    return algorithm


def make_algorithm(recipe: Recipe) -> Algorithm:
    """The algorithm that a recipe names. Raises `ConfigError` if there is none, or if the recipe
    wants it to train a profile and it cannot.
    """
    algorithm = find_algorithm(recipe.algorithm)
    if recipe.profile == TRAINABLE and not algorithm.trains_profiles:
        able = ", ".join(name for name, one in ALGORITHMS.items() if one.trains_profiles)
        raise ConfigError(
            f"algorithm {recipe.algorithm} cannot train its profile; choose one of {able}, or "
            "another profile"
        )
    return algorithm(recipe)
