"""Turn an ordinary PyTorch module into one that runs at several dot-product percentages.

In: a module and an example of its input. Out: a copy whose layers compute only their active
channels. Refuses, with `UnsupportedOp` that names the operation and its source line, whatever is
not certain to stay correct when channels are missing, before anything is changed.

**Groups.** A residual addition ties the channels of its two sides, a depthwise convolution those of
its input and output; a concatenation keeps the active leading part of each of its inputs. Channels
that end up tied form a `ChannelGroup`, named after the first layer that makes them. The input and
the output never scale, nor do groups named in `fixed`.

**Profiles.** Every scalable tensor has its profile γ applied exactly once on each way through it.
Channels that convolutions make get it from their producer (the paper, Eq. 2), those of fully
connected layers from their consumer (Eq. 1). Where batch norm follows a convolution, γ comes after
it: normalising would cancel any factor before it, and with it the order of the channels. Batch norm
after an addition undoes the γ that its input carried, and applies it again. A depthwise convolution
without batch norm carries the γ of its input and applies none.

**Weights.** With `preserve="function"` the weights that γ multiplies are divided by it, so that the
result at 100 % DP computes what the module computed: bit for bit with the all-one profile, to
rounding (a factor and its inverse) with others. With `preserve="weights"` they are copied, and γ
acts on top: what the paper does, for training from scratch as for a pre-trained VGG-16.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.channels import Span
from tesla_embed.nn.layers import (
    IncompleteConv1d,
    IncompleteConv2d,
    IncompleteLinear,
    ScalableLayer,
    channel_groups,
    set_dp,
    set_widths,
)
from tesla_embed.nn.norm import ROWS, IncompleteBatchNorm
from tesla_embed.nn.profiles import make_profile
from tesla_embed.nn.propagate import Layout, lay_out
from tesla_embed.nn.steps import Kind, Step, Trace, trace

__all__ = ["channel_groups", "make_scalable", "set_dp", "set_widths"]

Preserve = Literal["function", "weights"]


def make_scalable(
    module: nn.Module,
    example_input: Tensor,
    *,
    profile: str = "linear",
    multiple: int = 1,
    fixed: Sequence[str] = (),
    preserve: Preserve = "function",
    rows: Sequence[int] = ROWS,
    track: bool = True,
) -> nn.Module:
    """A copy of `module` whose channels scale with the DP percentage; `module` stays as it is.

    `example_input` is `[B, …]`; only its shape matters. `profile` names the coefficients of every
    scalable tensor, `multiple` rounds active widths up, `fixed` names layers whose output shall
    keep its width. `rows` are the DP percentages for which batch norm keeps statistics, ascending
    to 100, and `track` lets training update them (see `tesla_embed.nn.norm`).
    Use `set_dp`, `set_widths` and `channel_groups` on the result.
    Raises `UnsupportedOp`, and `ConfigError` for options out of range.
    """
    if multiple < 1 or not rows or list(rows) != sorted(set(rows)) or rows[-1] != 100:
        raise ConfigError(f"multiple {multiple} must be positive and rows {rows} ascend to 100")
    _check_plain(module)
    steps = trace(module, example_input)
    layout = lay_out(steps, fixed, multiple)
    conversion = _Conversion(steps, layout, profile, preserve, tuple(rows), track)
    replacements = {
        step.name: conversion.layer(step)
        for step in steps.steps
        if step.kind in (Kind.WEIGHTED, Kind.NORM)
    }
    result = copy.deepcopy(module)
    for name, layer in replacements.items():
        result.set_submodule(name, layer.train(module.get_submodule(name).training))
    return result


def _check_plain(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, ScalableLayer):
            raise UnsupportedOp(f"{name or 'the module'} is scalable already; give a plain module")


@dataclass(frozen=True, slots=True)
class _Conversion:
    """Makes the incomplete form of each layer."""

    trace: Trace
    layout: Layout
    profile: str
    preserve: Preserve
    rows: tuple[int, ...]
    track: bool

    def layer(self, step: Step) -> ScalableLayer:
        """The replacement for the layer of `step`."""
        source, plain = self.layout.source(step), step.module
        target = self.layout.spans[self.trace.steps.index(step)]
        match plain:
            case nn.Conv1d() | nn.Conv2d():
                kind = IncompleteConv2d if isinstance(plain, nn.Conv2d) else IncompleteConv1d
                conv = kind.like(plain, source, target)  # type: ignore[arg-type]
                if not (conv.depthwise or self._feeds_norms_only(plain)):
                    self._apply(conv, target, 0)
                return conv
            case nn.Linear():
                linear = IncompleteLinear.like(plain, source, target)
                self._apply(linear, source, 1)
                return linear
            case nn.BatchNorm1d() | nn.BatchNorm2d() if plain.running_mean is not None:
                norm = IncompleteBatchNorm(plain, source, self.rows, self.track)
                self._apply(norm, target, 0)
                return norm
            case _:
                raise step.refusal("keeps no running statistics; set track_running_stats=True")

    def _own(self, span: Span, *, producer: bool) -> tuple[slice, ...]:
        """The parts of a span whose profile is this side's to apply."""
        own, start = [], 0
        for part in span.parts:
            if part.group.scalable and (part.group in self.layout.by_producer) == producer:
                own.append(slice(start, start + part.size))
            start += part.size
        return tuple(own)

    def _feeds_norms_only(self, plain: nn.Module) -> bool:
        """Whether all that follows a convolution, wherever it is used, is batch norm."""
        uses = [i for i, step in enumerate(self.trace.steps) if step.module is plain]
        readers = [self.trace.steps[r] for use in uses for r in self.trace.readers(use)]
        ends = self.trace.output in uses
        return bool(readers) and not ends and all(step.kind is Kind.NORM for step in readers)

    def _apply(self, layer: ScalableLayer, span: Span, dim: int) -> None:
        """Give `layer` its profile γ along `span`, dimension `dim` of its weights; ones elsewhere.

        The producer's side is dimension 0, the consumer's 1. Without a part of its own: no profile.
        """
        layer.own = self._own(span, producer=dim == 0)
        if not layer.own:
            return
        gamma, start = torch.ones(span.size), 0
        for part in span.parts:
            whole = slice(start, start + part.size)
            if whole in layer.own:
                single = make_profile(self.profile, part.group.size)
                gamma[whole] = single.repeat_interleave(part.repeat)
            start += part.size
        layer.profile = gamma
        if self.preserve == "weights":
            return
        if isinstance(layer, IncompleteBatchNorm):
            layer.make_affine()
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                if name == "weight":
                    shape = [-1 if d == dim else 1 for d in range(parameter.ndim)]
                    parameter.div_(gamma.to(parameter).reshape(shape))
                elif dim == 0:
                    parameter.div_(gamma.to(parameter))
