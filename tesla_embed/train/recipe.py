"""Recipes: everything that decides how a network is trained, except the data.

In: the name of a recipe that ships with the package or the path of a .toml file, and overrides
`key=value`. Out: a validated, immutable `Recipe`. Refuses, with `ConfigError`, unknown recipes and
keys (the message lists those that exist), values of the wrong type or out of range.
"""

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import structs

from tesla_embed.errors import ConfigError
from tesla_embed.nn.networks import NetworkConfig
from tesla_embed.nn.norm import BatchNormOptions
from tesla_embed.nn.soften import SoftPruning
from tesla_embed.train.usage import read_usage

Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]*\Z", max_length=63)]
"""With `_` for `-` the name of a model, to which `tesla_embed.ir.verify` sets these limits."""
_WIDTHS = "widths"
"""A value that is a table itself: its keys are names of layers."""
Natural = Annotated[int, msgspec.Meta(ge=1)]
_READERS = {
    "tesla": ("tesla", "r-tesla"),
    "r_tesla": ("r-tesla",),
    "mp_idp": ("mp-idp",),
    "universal": ("universal",),
    "individual": ("individual",),
    "budget": ("universal", "individual"),
}
"""The algorithms that look at a section; those of other sections are all."""


class Optimizer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Optimiser Adam, or gradient descent with `momentum`.

    `learning_rate` per step, over batches of `batch` examples in each process. `weight_decay`
    pulls weights, not biases, to zero. `schedule` says how the rate falls within a stage: not at
    all, as half a cosine down to zero after `stopping.max_epochs`, or by `step_factor` every
    `step_epochs` epochs.
    """

    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1e-3
    batch: Natural = 128
    method: Literal["adam", "sgd"] = "adam"
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"
    step_epochs: Natural = 30
    step_factor: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1


class Augmentation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Random changes to training images: shifts by up to `crop` pixels, `flip` left to right."""

    crop: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    flip: bool = False


class Stopping(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Task-wise early stopping (the paper, section 3.1), judged on a validation split.

    A stage ends when the objective on the validation split has not fallen below its best by more
    than `min_gain` for `patience` epochs, or after `max_epochs`. `validation` is the share of each
    class of the training data that is held back for this.
    """

    patience: Natural = 4
    min_gain: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1e-4
    max_epochs: Natural = 100
    validation: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1


class Tesla(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """TESLA: `tasks` in decreasing DP percent, and the aggregation coefficient `alpha` (Eq. 3)."""

    tasks: Annotated[tuple[Percent, ...], msgspec.Meta(min_length=1)] = (100, 70, 40, 10)
    alpha: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        if any(a <= b for a, b in zip(self.tasks, self.tasks[1:], strict=False)):
            raise ValueError("tasks must decrease, as in 100, 70, 40, 10")


class RTesla(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """R-TESLA, which shares `tesla.tasks` and `tesla.alpha`: how the next task is drawn.

    `regions` (DP percent; none: `tesla.tasks`) are drawn in proportion to `weights` (none: all
    alike, in rounds), or as often as the CSV file `usage` says, whose contents take the place of
    both when the recipe is loaded. No task is added after `max_epoch` epochs. The result is the
    network of the `best` stage on the validation split or, as in the paper, of the `last`.
    """

    max_epoch: Annotated[int, msgspec.Meta(ge=0)] = 50
    regions: tuple[Percent, ...] = ()
    weights: tuple[Annotated[float, msgspec.Meta(ge=0, le=1e18)], ...] = ()
    usage: str = ""
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        if self.weights and not any(self.weights):
            raise ValueError("weights must not all be zero")
        if len(set(self.regions)) != len(self.regions):
            raise ValueError("regions must differ")


class MpIdp(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """MP-IDP: upper ends of the `ranges` (DP percent), and their `profiles`.

    Without `profiles` the recipe's profile serves all ranges.
    """

    ranges: Annotated[tuple[Percent, ...], msgspec.Meta(min_length=1)] = (20, 50, 100)
    profiles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_regions("ranges", self.ranges)
        if self.profiles and len(self.profiles) != len(self.ranges):
            raise ValueError(
                f"ranges has {len(self.ranges)} entries but profiles has {len(self.profiles)}"
            )


class Universal(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Universally slimmable training: a step trains 100 %, `smallest` and `random` others.

    Those are drawn uniformly on a logarithmic scale, so that small widths, where a few channels
    matter most and a step costs least, come up more often; or all alike, as in the publication.
    """

    smallest: Annotated[int, msgspec.Meta(ge=1, le=99)] = 10
    random: Annotated[int, msgspec.Meta(ge=0, le=99)] = 2
    scale: Literal["logarithmic", "linear"] = "logarithmic"


class Individual(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Individually trained networks, one for each of `regions` (DP percent)."""

    regions: Annotated[tuple[Percent, ...], msgspec.Meta(min_length=1)] = tuple(range(10, 101, 5))

    def __post_init__(self) -> None:
        _check_regions("regions", self.regions)


class Budget(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """For `universal` and `individual`, which do not stop early: so many `epochs` per network.

    The learning rate falls from `peak` to zero within them, as half a cosine. The epoch of the
    highest accuracy on the validation split is kept.
    """

    epochs: Natural = 20
    peak: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 3e-3


def _check_regions(name: str, regions: Sequence[int]) -> None:
    if regions[-1] != 100 or any(a >= b for a, b in itertools.pairwise(regions)):
        raise ValueError(f"{name} must ascend to 100, as in 20, 50, 100")


class Recipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How to train one network; `profile` and `algorithm` are names from their registries.

    `threads` counts CPU threads. It belongs to the recipe because the order of sums, and with it
    the last bit of every weight, depends on it; one is also the fastest for small networks.
    `device` is "auto" (the graphics processor where there is one), "cpu" or "cuda". With
    `precision` "bfloat16" products are computed in that type; weights and sums stay float32.
    """

    name: Name
    network: NetworkConfig
    algorithm: str = "tesla"
    profile: str = "linear"
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    device: Annotated[str, msgspec.Meta(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)\Z")] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()
    batch_norm: BatchNormOptions = BatchNormOptions()
    stopping: Stopping = Stopping()
    tesla: Tesla = Tesla()
    r_tesla: RTesla = RTesla()
    mp_idp: MpIdp = MpIdp()
    universal: Universal = Universal()
    individual: Individual = Individual()
    budget: Budget = Budget()
    soft_pruning: SoftPruning = SoftPruning()

    def __post_init__(self) -> None:
        drawn = len(self.r_tesla.regions or self.tesla.tasks)
        if self.r_tesla.weights and len(self.r_tesla.weights) != drawn:
            raise ValueError(
                f"r_tesla.weights has {len(self.r_tesla.weights)} entries for {drawn} regions"
            )


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship with the package."""
    folder = files("tesla_embed") / "recipes"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_recipe(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe by name or .toml path and apply overrides `key=value`, the last one wins.

    Keys are dotted paths or, where that is unique, their last part; values are TOML, anything that
    is no TOML counts as a string. Raises `ConfigError`.
    """
    recipe = _convert(_read(source), f"recipe {source}", ())
    if not overrides:
        return _with_usage(recipe)
    table: dict[str, Any] = msgspec.to_builtins(recipe)
    known = _keys(table)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"{override!r} has no '='; write --set key=value")
        path = _find(key.strip(), known)
        table = _replaced(table, path.split("."), _value(text.strip()))
    return _with_usage(_convert(table, f"recipe {source} with --set {', '.join(overrides)}", known))


def idle_settings(recipe: Recipe, overrides: Sequence[str]) -> list[str]:
    """Those overrides `key=value` of `load_recipe` that the recipe's algorithm never looks at.

    Each as `key is section.key`: a short key may name another section than was meant.
    """
    known = _keys(msgspec.to_builtins(recipe))
    found = []
    for override in overrides:
        key = override.partition("=")[0].strip()
        path = _find(key, known)
        readers = _READERS.get(path.partition(".")[0])
        if readers is not None and recipe.algorithm not in readers:
            found.append(path if path == key else f"{key} is {path}")
    return found


def recipe_bytes(recipe: Recipe) -> bytes:
    """The recipe as JSON; equal bytes mean equal recipes."""
    return msgspec.json.encode(recipe)


def _read(source: str) -> dict[str, Any]:
    if source.endswith(".toml"):
        try:
            content = Path(source).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"recipe {source} cannot be read: {error}") from error
    elif source in recipe_names():
        content = (files("tesla_embed") / "recipes" / f"{source}.toml").read_text(encoding="utf-8")
    else:
        names = ", ".join(recipe_names())
        raise ConfigError(f"recipe {source!r} is not known; use {names} or a path ending in .toml")
    try:
        return tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"recipe {source} is no valid TOML: {error}") from error


def _with_usage(recipe: Recipe) -> Recipe:
    """Read the usage file now: a run must go on the same when the file has changed."""
    options = recipe.r_tesla
    if not options.usage:
        return recipe
    if options.regions or options.weights:
        raise ConfigError("r_tesla.usage excludes r_tesla.regions and weights; give only one")
    regions, weights = read_usage(Path(options.usage))
    return structs.replace(
        recipe, r_tesla=structs.replace(options, regions=regions, weights=weights, usage="")
    )


def _convert(table: Mapping[str, Any], where: str, known: Sequence[str]) -> Recipe:
    try:
        return msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        unknown = "unknown field" in str(error)
        hint = f"; keys are {', '.join(known)}" if known and unknown else ""
        raise ConfigError(f"{where}: {error}{hint}") from error


def _keys(table: Mapping[str, Any], prefix: str = "") -> tuple[str, ...]:
    """Dotted paths of all values of a nested table."""
    keys: list[str] = []
    for key, value in table.items():
        nested = isinstance(value, dict) and key != _WIDTHS
        keys += _keys(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}"]
    return tuple(keys)


def _find(key: str, known: Sequence[str]) -> str:
    matches = [path for path in known if key in (path, path.rpartition(".")[2])]
    if key in matches:
        return key
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"--set {key} is ambiguous; use one of {', '.join(matches)}")
    raise ConfigError(f"--set {key}: no such key; keys are {', '.join(known)}")


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _replaced(table: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    return {**table, head: _replaced(table[head], rest, value) if rest else value}
