"""How a network is turned into integers: every choice in one immutable value.

In: values as the command line or a script gives them. Refuses, with `ConfigError`, what is out of
range or contradicts itself.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from tesla_embed.errors import ConfigError

Method = Literal["minmax", "percentile", "mse"]
Tables = Literal["region", "shared"]
WeightBits = Literal["int8", "int4", "mixed"]
Rounding = Literal["bitsplit", "nearest"]


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{what} {value!r} is not known; use {', '.join(known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """From observed activations to the range that int8 covers.

    `method` "minmax" covers all that was seen; "percentile" leaves out what lies beyond that
    percentile at the upper end, and as much at the lower; "mse" clips where the squared error is
    smallest. With `tables` "region" every operating region has ranges of its own; "shared" is one
    range for all of them.
    """

    method: Method = "minmax"
    percentile: float = 99.99
    tables: Tables = "region"

    def __post_init__(self) -> None:
        _one_of("calibration", self.method, get_args(Method))
        _one_of("tables", self.tables, get_args(Tables))
        if not 50.0 < self.percentile <= 100.0:
            raise ConfigError(f"percentile {self.percentile:g} is out of range; use 50 to 100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """How many bits weights get.

    `bits` "int8" and "int4" are for all layers; "mixed" gives four bits to as many layers as
    `budget_bytes` for all weights together demands, or as `max_loss` allows: percentage points of
    accuracy in the worst region, against eight bits. `rounding` "bitsplit" optimises the four bits
    on data, "nearest" rounds them.
    """

    bits: WeightBits = "int8"
    rounding: Rounding = "bitsplit"
    budget_bytes: int | None = None
    max_loss: float | None = None

    def __post_init__(self) -> None:
        _one_of("weights", self.bits, get_args(WeightBits))
        _one_of("rounding", self.rounding, get_args(Rounding))
        limits = [limit for limit in (self.budget_bytes, self.max_loss) if limit is not None]
        if self.bits == "mixed" and len(limits) != 1:
            raise ConfigError("mixed weights need either --budget BYTES or --max-loss POINTS")
        if self.bits != "mixed" and limits:
            raise ConfigError("--budget and --max-loss choose mixed weights; add --weights mixed")
        if not all(math.isfinite(limit) and limit >= 0 for limit in limits):
            raise ConfigError(f"a limit of {limits[0]:g} cannot be kept; give zero or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class QatOptions:
    """`epochs` over the examples in batches of `batch`, with Adam.

    `learning_rate` is in units of a weight's step; it falls to zero as half a cosine. `random`
    counts the regions of a step beside the largest and the smallest. At most `samples` training
    examples are used. The result follows from the `seed` and the number of CPU `threads`.
    """

    epochs: int = 2
    batch: int = 64
    learning_rate: float = 0.01
    random: int = 1
    samples: int = 10_000
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "samples", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"qat {name} {getattr(self, name)} is too few; use at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """Everything that decides how a trained network becomes integers, except the data.

    `samples` training examples calibrate. `bias_correction` removes what rounding adds to the mean
    of every channel in every region. `qat` trains the integers, or not where it is `None`.
    """

    samples: int = 1000
    calibration: Calibration = Calibration()
    bias_correction: bool = False
    reduction: Reduction = Reduction()
    qat: QatOptions | None = None

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"{self.samples} calibration samples are too few; use at least 1")
