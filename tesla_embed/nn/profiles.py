"""Profiles: the non-increasing coefficients γ₁ ≥ γ₂ ≥ … ≥ γ_N that rank the channels of a tensor.

In: a name and a length. Out: a float32 tensor `[N]` with γ₁ = 1. Refuses unknown names.
A layer keeps its profile as a buffer; training that learns profiles makes it a parameter.
Source: McDanel, Teerapittayanon and Kung, "Incomplete dot products", 2017, as used by the paper,
sections 2 and 4.1. Their exponential profiles fall by a factor of e from each channel to the next,
which leaves nothing of a wide layer; ours fall by `DECAY` in all, whatever the width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tesla_embed.errors import ConfigError

TRAINABLE = "trainable"
"""Name of the profile that starts as ones and is learnt with the weights (section 3.4)."""

DECAY = 4.0
"""An exponential profile falls from 1 to about e to the power of minus this."""

_STEPS = 4


def _all_one(index: Tensor) -> Tensor:
    return torch.ones_like(index)


def _linear(index: Tensor) -> Tensor:
    return 1 - (index - 1) / len(index)


def _harmonic(index: Tensor) -> Tensor:
    return 1 / index


def _exponential(index: Tensor) -> Tensor:
    return torch.exp(-DECAY * (index - 1) / len(index))


def _half_exponential(index: Tensor) -> Tensor:
    half = len(index) / 2
    return torch.exp(-DECAY * (index - half).clamp(min=0) / half)


def _step(index: Tensor) -> Tensor:
    return 1 - torch.floor(_STEPS * (index - 1) / len(index)) / _STEPS


PROFILES: dict[str, Callable[[Tensor], Tensor]] = {
    "all-one": _all_one,
    "linear": _linear,
    "harmonic": _harmonic,
    "exponential": _exponential,
    "half-exponential": _half_exponential,
    "step": _step,
    TRAINABLE: _all_one,
}
"""Formulas from the channel numbers i = 1 to N (float64) to the coefficients γ_1 to γ_N.

`all-one`: γ_i = 1. `linear`: γ_i = 1 - (i - 1) / N. `harmonic`: γ_i = 1 / i.
`exponential`: γ_i = exp(-4 (i - 1) / N). `half-exponential`: ones up to the middle, then
γ_i = exp(-4 (2i / N - 1)). `step`: 1, 3/4, 1/2 and 1/4, for a quarter of the channels each.
`trainable`: γ_i = 1 to begin with.
"""


def make_profile(name: str, length: int) -> Tensor:
    """Coefficients of the profile `name` for `length` channels, float32 `[length]`.

    Raises `ConfigError` for an unknown name.
    """
    formula = PROFILES.get(name)
    if formula is None:
        raise ConfigError(f"profile {name!r} is not known; choose one of {', '.join(PROFILES)}")
    return formula(torch.arange(1, length + 1, dtype=torch.float64)).to(torch.float32)


def release_profiles(network: nn.Module) -> None:
    """Make every profile of `network` a parameter, with the values it has."""
    for module in network.modules():
        profile = getattr(module, "profile", None)
        if isinstance(profile, Tensor):
            del module.profile
            module.profile = nn.Parameter(profile.detach().clone())


def trainable_profiles(network: nn.Module) -> list[nn.Parameter]:
    """The profiles, γ `[N]` each, that are parameters."""
    profiles = (getattr(module, "profile", None) for module in network.modules())
    return [profile for profile in profiles if isinstance(profile, nn.Parameter)]


def clip_profiles(network: nn.Module) -> None:
    """Clip every trainable profile, part by part; entries that are not a layer's own stay one."""
    for layer in network.modules():
        gamma = getattr(layer, "profile", None)
        if not isinstance(gamma, nn.Parameter):
            continue
        own = getattr(layer, "own", None)
        kept = torch.ones_like(gamma)
        for part in (slice(None),) if own is None else own:
            values = gamma.detach()[part].clone()
            clip_profile(values)
            kept[part] = values
        with torch.no_grad():
            gamma.copy_(kept)


def clip_profile(gamma: Tensor) -> None:
    """Lower each coefficient of γ `[N]` to the least before it, and all to zero at least.

    In place: what the paper's section 3.4 does after every update of a profile.
    """
    with torch.no_grad():
        gamma.copy_(gamma.clamp(min=0).cummin(0).values)
