"""What a comparison runs: every row, that is algorithm and profile, of every recipe and seed.

In: names as the user typed them. Out: `Run`s in the order they start. Refuses, with `ConfigError`,
names that do not exist and combinations that cannot be trained, before anything is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tesla_embed.errors import ConfigError
from tesla_embed.nn.profiles import make_profile
from tesla_embed.train.algorithms import find_algorithm, make_algorithm
from tesla_embed.train.recipe import Recipe, load_recipe

PLAIN = "all-one"


@dataclass(frozen=True, slots=True)
class Row:
    """A way of training: one line of the table, one curve of the figure.

    `changes` are the overrides `key=value` of this row alone.
    """

    algorithm: str
    profile: str
    changes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What the table and the figure call it."""
        return ", ".join((self.algorithm, self.profile, *self.changes))

    @property
    def text(self) -> str:
        """What `parse_rows` reads."""
        return ":".join((self.algorithm, self.profile, *self.changes))


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training: a recipe with algorithm, profile and seed filled in."""

    source: str
    row: Row
    recipe: Recipe

    @property
    def folder(self) -> str:
        """Name of its sub-folder."""
        row = re.sub(r"[^A-Za-z0-9._=-]+", "_", "--".join(self.row.text.split(":")))
        return f"{self.recipe.name}--{row}--{self.recipe.seed}"


def parse_rows(
    algorithms: Sequence[str], profiles: Sequence[str], pairs: Sequence[str]
) -> tuple[Row, ...]:
    """Every algorithm with every profile, and then the `pairs`, written `algorithm:profile`.

    After a pair there may be overrides for this row alone, each behind another colon.

    An algorithm for which profiles mean nothing appears once. Raises `ConfigError`.
    """
    products = [f"{algorithm}:{profile}" for algorithm in algorithms for profile in profiles]
    rows = []
    for text in (*products, *pairs):
        algorithm, *rest = text.split(":")
        if not rest:
            raise ConfigError(f"row {text!r} has no ':'; write it as in tesla:linear")
        profile, *changes = rest
        make_profile(profile, 1)
        plain = not find_algorithm(algorithm).uses_profile
        rows.append(Row(algorithm, PLAIN if plain else profile, tuple(changes)))
    if not rows:
        raise ConfigError("there is nothing to compare; give --algorithm and --profile, or --row")
    return tuple(dict.fromkeys(rows))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from a comma-separated list such as `0,1,2`. Raises `ConfigError`."""
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"seeds {text!r} are no numbers; write 0,1,2") from error
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds {text!r} repeat one; write 0,1,2")
    return seeds


def plan(
    recipes: Sequence[str], rows: Sequence[Row], seeds: Sequence[int], overrides: Sequence[str]
) -> tuple[Run, ...]:
    """All runs: seed by seed, so that an early look already has every row.

    Raises `ConfigError` for what cannot be loaded or trained, and for two recipes of one name.
    """
    runs = []
    for seed in seeds:
        for source in recipes:
            for row in rows:
                choice = [f"algorithm={row.algorithm}", f"profile={row.profile}", f"seed={seed}"]
                recipe = load_recipe(source, [*overrides, *row.changes, *choice])
                make_algorithm(recipe)
                runs.append(Run(source, row, recipe))
    if len({run.folder for run in runs}) != len(runs):
        raise ConfigError(
            "two recipes or rows have the same name; leave one out or give it another name"
        )
    return tuple(runs)
