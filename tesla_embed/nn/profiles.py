"""Profiles: the non-increasing coefficients γ₁ ≥ γ₂ ≥ … ≥ γ_N that rank the channels of a tensor.

In: a name and a length. Out: a float32 tensor `[N]` with γ₁ = 1. Refuses unknown names.
A layer keeps its profile as a buffer; training that learns profiles makes it a parameter.
Source: McDanel, Teerapittayanon and Kung, "Incomplete dot products", 2017, as used by the paper,
sections 2 and 4.1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tesla_embed.errors import ConfigError


def _all_one(index: Tensor) -> Tensor:
    return torch.ones_like(index)


def _linear(index: Tensor) -> Tensor:
    return 1 - (index - 1) / len(index)


def _harmonic(index: Tensor) -> Tensor:
    return 1 / index


PROFILES: dict[str, Callable[[Tensor], Tensor]] = {
    "all-one": _all_one,
    "linear": _linear,
    "harmonic": _harmonic,
}
"""Formulas from the channel numbers 1 to N (float64) to the coefficients γ_1 to γ_N.

`all-one`: γ_i = 1. `linear`: γ_i = 1 - (i - 1) / N. `harmonic`: γ_i = 1 / i.
"""


def make_profile(name: str, length: int) -> Tensor:
    """Coefficients of the profile `name` for `length` channels, float32 `[length]`.

    Raises `ConfigError` for an unknown name.
    """
    formula = PROFILES.get(name)
    if formula is None:
        raise ConfigError(f"profile {name!r} is not known; choose one of {', '.join(PROFILES)}")
    return formula(torch.arange(1, length + 1, dtype=torch.float64)).to(torch.float32)
