"""What a comparison runs: every row, that is algorithm and profile, of every recipe and seed.

In: names as the user typed them. Out: `Run`s in the order they start. Refuses, with `ConfigError`,
names that do not exist and combinations that cannot be trained, before anything is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tesla_embed.errors import ConfigError
from tesla_embed.nn.profiles import make_profile
from tesla_embed.train.algorithms import find_algorithm, make_algorithm
from tesla_embed.train.recipe import Recipe, load_recipe

PLAIN = "all-one"


@dataclass(frozen=True, slots=True)
class Row:
    """A way of training: one line of the table, one curve of the figure."""

    algorithm: str
    profile: str

    @property
    def label(self) -> str:
        """What the table and the figure call it."""
        return f"{self.algorithm}, {self.profile}"


@dataclass(frozen=True, slots=True)
class Run:
    """One training: a recipe with algorithm, profile and seed filled in."""

    source: str
    row: Row
    recipe: Recipe

    @property
    def folder(self) -> str:
        """Name of its sub-folder."""
        parts = (self.recipe.name, self.row.algorithm, self.row.profile, str(self.recipe.seed))
        return "--".join(parts)


def parse_rows(
    algorithms: Sequence[str], profiles: Sequence[str], pairs: Sequence[str]
) -> tuple[Row, ...]:
    """Every algorithm with every profile, and then the `pairs`, written `algorithm:profile`.

    An algorithm for which profiles mean nothing appears once. Raises `ConfigError`.
    """
    wanted = [(algorithm, profile) for algorithm in algorithms for profile in profiles]
    for pair in pairs:
        algorithm, colon, profile = pair.partition(":")
        if not colon:
            raise ConfigError(f"row {pair!r} has no ':'; write it as in tesla:linear")
        wanted.append((algorithm, profile))
    rows = []
    for algorithm, profile in wanted:
        make_profile(profile, 1)
        plain = not find_algorithm(algorithm).uses_profile
        rows.append(Row(algorithm, PLAIN if plain else profile))
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
                recipe = load_recipe(source, [*overrides, *choice])
                make_algorithm(recipe)
                runs.append(Run(source, row, recipe))
    if len({run.folder for run in runs}) != len(runs):
        raise ConfigError("two recipes have the same name; change the name in one of the files")
    return tuple(runs)
