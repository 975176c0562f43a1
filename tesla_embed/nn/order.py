"""Put the channels of a scalable module into another order, or keep only the leading ones.

In: a scalable module, and for some of its groups the new order of their channels, or how many of
them stay. Out: a module in which producers, consumers, batch norm and profiles agree again.
Refuses, with `ConfigError`, groups that do not exist or do not scale, and what is no order or no
width; with `UnsupportedOp` networks that keep several copies of their layers.

A channel's place decides whether it is computed at a DP percentage, so the order is free at 100 %
and decisive below. The profile γ belongs to the places, not to the channels: it stays, and the
weights that it multiplies take over the quotient, so that the function at 100 % stays the same.
"""

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.channels import ChannelGroup
from tesla_embed.nn.copies import PerRange
from tesla_embed.nn.layers import ScalableLayer, channel_groups, set_dp, set_widths
from tesla_embed.nn.norm import norms

M = TypeVar("M", bound=nn.Module)


def reorder(module: M, orders: Mapping[str, Tensor]) -> M:
    """A copy of `module` with the channels of some groups in another order.

    `orders` maps names of `channel_groups` to permutations `[channels]` (int64): the channel that
    was number `order[i]` becomes number i. At 100 % DP the result computes the same function, to
    the rounding of sums whose terms changed places. Batch norm keeps the statistics of 100 % DP
    alone, which then serve every percentage until `recalibrate` measures the others.
    Raises `ConfigError` and `UnsupportedOp`, changing nothing.
    """
    refuse_several(module)
    result = copy.deepcopy(module)
    groups = channel_groups(result)
    table: dict[ChannelGroup, Tensor] = {}
    for name, order in orders.items():
        table[_checked(groups, name, order)] = order
    for layer in result.modules():
        if isinstance(layer, ScalableLayer):
            _reorder_layer(layer, table)
    for norm in norms(result):
        norm.forget()
    return result


def shrink(module: nn.Module, widths: Mapping[str, int]) -> None:
    """Keep, in place, only so many leading channels of some groups: their new full width.

    Names are those of `channel_groups`. Profiles keep their leading coefficients, and batch norm
    the statistics of 100 % DP alone, measured when the channels that go were still there.
    Raises `ConfigError` and `UnsupportedOp`, changing nothing.
    """
    refuse_several(module)
    for name, group in channel_groups(module).items():
        if name in widths and not group.scalable:
            raise ConfigError(f"group {name} does not scale, so it keeps its {group.size} channels")
    set_dp(module, 100)
    set_widths(module, widths)
    for layer in module.modules():
        if isinstance(layer, ScalableLayer):
            layer.narrow()
    for group in channel_groups(module).values():
        group.size = group.active
    for norm in norms(module):
        norm.forget()
    set_dp(module, 100)


def refuse_several(module: nn.Module) -> None:
    """Raise `UnsupportedOp` if `module` keeps a copy of some layers per range of percentages."""
    for name, part in module.named_modules():
        if isinstance(part, PerRange):
            raise UnsupportedOp(
                f"the network keeps {len(part.copies)} copies of {name}, one per DP range, and "
                "their channels have one order each; train with idp, tesla, r-tesla or universal "
                "to sort or prune"
            )


def _checked(groups: Mapping[str, ChannelGroup], name: str, order: Tensor) -> ChannelGroup:
    group = groups.get(name)
    if group is None or not group.scalable:
        known = ", ".join(name for name, group in groups.items() if group.scalable)
        raise ConfigError(f"group {name!r} does not scale or is not known; scalable are {known}")
    if not torch.equal(order.sort().values, torch.arange(group.size)):
        raise ConfigError(
            f"the order of group {name} must name each of its {group.size} channels once"
        )
    return group


def _reorder_layer(layer: ScalableLayer, table: Mapping[ChannelGroup, Tensor]) -> None:
    """Move channels, then give the profile its places back and let the weights make up for it."""
    places = None if layer.profile is None else layer.profile.detach().clone()
    layer.choose(lambda tensor, span, dim: tensor.index_select(dim, span.positions(table)))
    if places is None or layer.profile is None:
        return
    moved = layer.profile.detach()
    if bool(((places == 0) & (moved != 0)).any()):
        raise ConfigError(
            "the profile has zeros, and a channel that counts would move to one; prune first, or "
            "train with another profile"
        )
    factor = torch.where(places == moved, torch.ones_like(moved), moved / places)
    axes = layer.axes()
    parameters = dict(layer.named_parameters(recurse=False))
    if "weight" not in parameters and bool((factor != 1).any()):
        raise UnsupportedOp("batch norm without scale cannot make up for its profile")
    with torch.no_grad():
        for name in ("weight", "bias"):
            dims = [dim for dim, axis in enumerate(axes[name]) if (axis,) == axes["profile"]]
            if name in parameters and dims:
                shape = [-1 if d in dims else 1 for d in range(parameters[name].ndim)]
                parameters[name].mul_(factor.reshape(shape))
        layer.profile.copy_(places)
