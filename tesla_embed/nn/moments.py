"""What is expected inside a network, channel by channel, without running it.

In: the steps of a scalable module. Out: for every step, mean, variance and probability of being
zero of its channels. Where nothing is known, at the input and behind functions that are not
described here, the numbers are NaN, and whatever depends on them is NaN as well. Refuses nothing.

Batch norm is what makes this possible: whatever comes in, channel j leaves it with mean b_j and
standard deviation |w_j|, and, being a sum of many terms, close to normally distributed: N(b, w²),
times the profile. This is the observation of Kang and Han, "Operation-Aware Soft Channel Pruning
using Differentiable Masks", ICML 2020, who conclude that a ReLU makes such a channel zero with
probability Φ(-b/|w|). From there the moments are carried on:

- ReLU and ReLU6 clip a normal distribution; the moments of what is left are known in closed form.
- An addition takes its terms for independent: means and variances add, and the sum is zero where
  all terms are (exact for terms that a ReLU made; no other term is ever exactly zero).
- A layer with weights takes its inputs for independent, too: mean b + Σ w μ, variance Σ w² σ².
- Pools pass on what they get. Neighbouring pixels are much alike, so this is close for a mean, and
  too little for a maximum.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tesla_embed.nn.channels import Span
from tesla_embed.nn.layers import IncompleteLayer, IncompleteLinear
from tesla_embed.nn.norm import IncompleteBatchNorm
from tesla_embed.nn.steps import NOTHING, Kind, Step, Trace

CLIPS = {
    **dict.fromkeys(("ReLU", "relu", "relu_"), math.inf),
    **dict.fromkeys(("ReLU6", "relu6"), 6.0),
}
"""Functions that cut off what is negative, and where they cut off above."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean, variance and probability of being exactly zero, float64 `[entries]` each."""

    mean: Tensor
    variance: Tensor
    zero: Tensor

    def at(self, index: Tensor) -> "Moments":
        """Those of some entries."""
        return Moments(self.mean[index], self.variance[index], self.zero[index])


def expected(trace: Trace, spans: list[Span]) -> list[Moments]:
    """The moments of every step of a scalable module at 100 % DP; `spans` are its channels."""
    found: list[Moments] = []
    for step, span in zip(trace.steps, spans, strict=True):
        found.append(_step(step, span, [found[index] for index in step.inputs]))
    return found


def normal(mean: Tensor, deviation: Tensor) -> Moments:
    """A normal distribution, which is never exactly zero unless it is constant."""
    constant = (deviation == 0) & (mean == 0)
    return Moments(mean, deviation.square(), constant.to(mean.dtype))


def clipped(source: Moments, high: float = math.inf) -> Moments:
    """The moments of min(max(z, 0), high) for normally distributed z.

    With φ and Φ the standard normal density and distribution, a = -μ/σ and b = (high - μ)/σ, the
    part between contributes μ (Φ(b) - Φ(a)) + σ (φ(a) - φ(b)) to the mean and
    (μ² + σ²) (Φ(b) - Φ(a)) + σ (μ φ(a) - (μ + high) φ(b)) to the mean square (integration by
    parts); what is above contributes high (1 - Φ(b)) and high² (1 - Φ(b)). Zero has probability
    Φ(a).
    """
    mean, deviation = source.mean, source.variance.sqrt()
    square = mean.square() + source.variance
    low = _standard(-mean, deviation)
    below, density = torch.special.ndtr(low), _density(low)
    if math.isinf(high):
        share = 1 - below
        first = mean * share + deviation * density
        second = square * share + deviation * mean * density
    else:
        top = _standard(high - mean, deviation)
        above, edge = 1 - torch.special.ndtr(top), _density(top)
        share = 1 - above - below
        first = mean * share + deviation * (density - edge) + high * above
        second = square * share + high**2 * above
        second = second + deviation * (mean * density - (mean + high) * edge)
    variance = (second - first.square()).clamp(min=0)
    return Moments(first.clamp(min=0), variance, below)


def effective_weight(layer: IncompleteLayer) -> Tensor:
    """The weights times the profile that the layer applies, float64, of the weights' shape."""
    weight = layer.weight.detach().double()
    if layer.profile is None:
        return weight
    dim = 1 if isinstance(layer, IncompleteLinear) else 0
    shape = [-1 if d == dim else 1 for d in range(weight.ndim)]
    return weight * layer.profile.detach().double().reshape(shape)


def _step(step: Step, span: Span, sources: list[Moments]) -> Moments:
    match step.kind:
        case Kind.NORM if isinstance(step.module, IncompleteBatchNorm):
            return _norm(step.module)
        case Kind.WEIGHTED if isinstance(step.module, IncompleteLayer):
            return _weighted(step.module, sources[0])
        case Kind.ELEMENTWISE if step.function in CLIPS:
            return clipped(sources[0], CLIPS[step.function])
        case Kind.ELEMENTWISE if step.function in NOTHING:
            return sources[0]
        case Kind.POOL:
            return sources[0]
        case Kind.ADD:
            mean, variance, zero = (torch.stack(rows) for rows in _columns(sources))
            return Moments(mean.sum(0), variance.sum(0), zero.prod(0))
        case Kind.CONCAT:
            return Moments(*(torch.cat(rows) for rows in _columns(sources)))
        case Kind.FLATTEN:
            times = span.size // len(sources[0].mean)
            return sources[0].at(torch.arange(span.size) // times)
        case _:
            nothing = torch.full((span.size,), math.nan, dtype=torch.float64)
            return Moments(nothing, nothing, nothing)


def _columns(rows: list[Moments]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    return [r.mean for r in rows], [r.variance for r in rows], [r.zero for r in rows]


def _norm(layer: IncompleteBatchNorm) -> Moments:
    ones = torch.ones(layer.target.size, dtype=torch.float64)
    gamma = ones if layer.profile is None else layer.profile.detach().double()
    weight = ones if layer.weight is None else layer.weight.detach().double()
    bias = 0 * ones if layer.bias is None else layer.bias.detach().double()
    return normal(bias * gamma, (weight * gamma).abs())


def _weighted(layer: IncompleteLayer, source: Moments) -> Moments:
    weight = effective_weight(layer)
    weight = weight.reshape(*weight.shape[:2], -1)
    once, squared = weight.sum(2), weight.square().sum(2)
    if "source" in layer.axes()["weight"]:
        mean, variance = once @ source.mean, squared @ source.variance
    else:  # every channel has filters of its own
        times = layer.target.size // layer.source.size
        own = source.at(torch.arange(layer.target.size) // times)
        mean, variance = once[:, 0] * own.mean, squared[:, 0] * own.variance
    if layer.bias is not None:
        bias = layer.bias.detach().double()
        if layer.profile is not None and layer.axes()["profile"] == ("target",):
            bias = bias * layer.profile.detach().double()
        mean = mean + bias
    return normal(mean, variance.sqrt())


def _standard(distance: Tensor, deviation: Tensor) -> Tensor:
    """distance / deviation; a constant that sits on the limit counts as beyond it."""
    ratio = distance / deviation
    return torch.where((deviation == 0) & (distance == 0), torch.full_like(ratio, math.inf), ratio)


def _density(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x.square()) / math.sqrt(2 * math.pi)
