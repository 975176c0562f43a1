"""How much each channel of a scalable network matters.

In: a scalable module and an example of its input. Out: for every group that scales, one number per
channel: its importance, or the probability that it is dead. Refuses, with `ConfigError`, measures
that are not known, and with `UnsupportedOp` channels of which nothing is known because no batch
norm comes before them, and networks with several copies of their layers.

Layers that mix channels, convolutions but for depthwise ones and fully connected layers, are the
only way out of a group. What counts is therefore what they read.

**operation-aware.** The importance of a channel is the share of what its readers sum up that comes
from it. A layer with weights W that mixes channels x gets from channel c, by expectation, a signal
of variance Var[x_c] · Σ_j W_jc², where j runs over outputs and kernel positions. That, divided by
its sum over all channels, is the channel's share in this layer, and importance adds up the shares
in all layers that read the group. The mean of x_c is left out: where a channel is missing, a
constant is easily made up for, by the mean that batch norm subtracts or by a bias. Var[x_c] follows
from batch norm and what comes after it, without data (`tesla_embed.nn.moments`): after batch norm
with scale w and shift b and a ReLU it is E[max(z, 0)²] - E[max(z, 0)]² with z ~ N(b, w²), where
E[max(z, 0)] = b Φ(b/|w|) + |w| φ(b/|w|) and E[max(z, 0)²] = (b² + w²) Φ(b/|w|) + b |w| φ(b/|w|).
The estimate of how often a channel comes out alive is that of Kang and Han, "Operation-Aware Soft
Channel Pruning using Differentiable Masks", ICML 2020. They judge a channel by it alone, which
finds the dead; to rank the living, we weigh it with how far they swing and how much is made of
them. Shares have no unit, so those of members of a group, as the terms of residual additions are,
can be added although their activations have different scales.

**l1.** The sum of the absolute weights that make a channel, Σ |W_c|, as a share of its layer's,
added up over all layers that make the group, depthwise ones too (Li et al., "Pruning Filters for
Efficient ConvNets", ICLR 2017). It takes no notice of batch norm, which undoes the scale of
weights: a baseline, and the measure for networks without batch norm.

**Dead** is a channel that is zero for practically every input: its probability is the least, over
all layers that mix it with others, of the probability that what the layer reads there is zero.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tesla_embed.errors import ConfigError
from tesla_embed.nn.channels import ChannelGroup, Span
from tesla_embed.nn.layers import IncompleteLayer
from tesla_embed.nn.moments import effective_weight, expected
from tesla_embed.nn.order import refuse_several
from tesla_embed.nn.propagate import spans_of
from tesla_embed.nn.steps import Step, Trace, trace

OPERATION_AWARE = "operation-aware"


def importance(module: nn.Module, example: Tensor, by: str = OPERATION_AWARE) -> dict[str, Tensor]:
    """Importance `[channels]` (float64, not negative, no unit) of every group that scales.

    `example` is `[B, …]`; only its shape matters. `by` is "operation-aware" or "l1".
    Raises `ConfigError` and `UnsupportedOp`.
    """
    measure = MEASURES.get(by)
    if measure is None:
        raise ConfigError(f"measure {by!r} is not known; choose one of {', '.join(MEASURES)}")
    traced, spans, found = _start(module, example)
    for span, values in measure(traced, spans):
        for group, mine in span.split(values):
            if group in found:
                found[group] = found[group] + mine.sum(1)
    return {group.name: values for group, values in found.items()}


def dead_probability(module: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """Probability `[channels]` (float64, 0 to 1) of being dead, for every group that scales.

    Raises `UnsupportedOp`.
    """
    traced, spans, found = _start(module, example)
    least = {group: torch.ones_like(values) for group, values in found.items()}
    moments = expected(traced, spans)
    for step, _ in _mixers(traced):
        source = step.inputs[0]
        _check_known(step, spans[source], moments[source].zero)
        for group, mine in spans[source].split(moments[source].zero):
            if group in least:
                least[group] = torch.minimum(least[group], mine.amin(1))
    return {group.name: values for group, values in least.items()}


def _start(
    module: nn.Module, example: Tensor
) -> tuple[Trace, list[Span], dict[ChannelGroup, Tensor]]:
    refuse_several(module)
    traced = trace(module, example)
    spans = spans_of(traced)
    groups = (part.group for span in spans for part in span.parts)
    zeros = {g: torch.zeros(g.size, dtype=torch.float64) for g in groups if g.scalable}
    return traced, spans, zeros


def _operation_aware(traced: Trace, spans: list[Span]) -> list[tuple[Span, Tensor]]:
    moments = expected(traced, spans)
    shares = []
    for step, layer in _mixers(traced):
        source = step.inputs[0]
        variance = moments[source].variance
        _check_known(step, spans[source], variance)
        used = effective_weight(layer).square().transpose(0, 1).flatten(1).sum(1)
        shares.append((spans[source], _share(variance * used)))
    return shares


def _l1(traced: Trace, spans: list[Span]) -> list[tuple[Span, Tensor]]:
    makers = {step.module: index for index, step in enumerate(traced.steps)}
    return [
        (spans[index], _share(effective_weight(layer).abs().flatten(1).sum(1)))
        for layer, index in makers.items()
        if isinstance(layer, IncompleteLayer)
    ]


MEASURES: dict[str, Callable[[Trace, list[Span]], list[tuple[Span, Tensor]]]] = {
    OPERATION_AWARE: _operation_aware,
    "l1": _l1,
}
"""Measures by name: each returns numbers for the entries of some spans, to be added up by group."""


def _mixers(traced: Trace) -> list[tuple[Step, IncompleteLayer]]:
    """The steps that mix channels, and their layers."""
    weighted = [(s, s.module) for s in traced.steps if isinstance(s.module, IncompleteLayer)]
    return [(step, layer) for step, layer in weighted if "source" in layer.axes()["weight"]]


def _share(values: Tensor) -> Tensor:
    """Shares of the sum of what is known; zeros if there is nothing."""
    total = values.nansum()
    return values / total if float(total) > 0 else torch.zeros_like(values)


def _check_known(step: Step, span: Span, values: Tensor) -> None:
    for group, mine in span.split(values):
        if group.scalable and bool(mine.isnan().any()):
            step.refuse(
                f"reads the channels of {group.name}, of which nothing is known without batch norm "
                "and ReLU or ReLU6 between them and the input; use the measure l1"
            )
