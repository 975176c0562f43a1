"""Sort the channels of a trained network by importance, or keep only those that matter.

In: a checkpoint, and training data if there are any. Out: a checkpoint of the same recipe; after
pruning its `network.widths` say what is left, so that it loads, trains on and becomes a model like
any other. Refuses, with `ConfigError`, measures and limits that make no sense and data that do not
fit, and with `UnsupportedOp` networks whose channels have no single order or no known distribution.

Pruning is sorting, and then keeping the leading part: `tesla_embed.nn.order` does both. Batch norm
must be measured again where other channels lead than before. Without data its statistics for 100 %
DP serve every percentage, which costs accuracy below.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from tesla_embed.data import DataSet, split_validation
from tesla_embed.errors import ConfigError
from tesla_embed.nn.channels import ChannelGroup
from tesla_embed.nn.cost import count_macs
from tesla_embed.nn.importance import OPERATION_AWARE, dead_probability, importance
from tesla_embed.nn.layers import channel_groups, set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.nn.norm import norms, recalibrate
from tesla_embed.nn.order import reorder, shrink
from tesla_embed.train.calibration import calibration_batches
from tesla_embed.train.checkpoint import Checkpoint
from tesla_embed.train.evaluate import check_fit

THRESHOLD = 0.99
"""A channel is dead if it is zero with a higher probability than this, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """A network with its channels in a new order, the most important ones first.

    `importance` has the numbers of each group `[channels]` in that order, `calibrated` says whether
    batch norm (if there is any) knows statistics for every percentage.
    """

    checkpoint: Checkpoint
    importance: dict[str, Tensor]
    calibrated: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """A network at full width: channels of its scalable groups, weights and biases, MACs."""

    widths: dict[str, int]
    parameters: int
    macs: int

    @property
    def channels(self) -> int:
        """Channels of all groups together."""
        return sum(self.widths.values())


@dataclass(frozen=True, slots=True)
class Pruned:
    """A narrower network, what it cost before and what it costs now."""

    checkpoint: Checkpoint
    before: Cost
    after: Cost
    calibrated: bool


def sort_checkpoint(
    checkpoint: Checkpoint, by: str = OPERATION_AWARE, data: DataSet | None = None
) -> Sorted:
    """The checkpoint with the most important channels first; at 100 % DP it answers as before.

    `by` is a measure of `tesla_embed.nn.importance`; with `data` batch norm is measured again below
    100 % DP. Raises `ConfigError` and `UnsupportedOp`.
    """
    _check_data(checkpoint, data)
    network = checkpoint.network
    values = importance(network.body, _example(network), by)
    orders = {name: _descending(ranks) for name, ranks in values.items()}
    result = Checkpoint(reorder(network, orders), checkpoint.info)
    calibrated = _calibrate(result, data, result.info.recipe.batch_norm.rows[:-1])
    return Sorted(result, {name: values[name][order] for name, order in orders.items()}, calibrated)


def prune_checkpoint(
    checkpoint: Checkpoint,
    by: str = OPERATION_AWARE,
    *,
    threshold: float | None = None,
    keep: int | None = None,
    data: DataSet | None = None,
) -> Pruned:
    """The checkpoint without its least important channels, the others sorted by importance.

    `keep` leaves the most important percent of every group, 1 to 100. Otherwise channels go that
    are dead with a probability above `threshold`, 0 to 1, by default `THRESHOLD`. Either way a
    group keeps at least one channel and a whole multiple of `network.multiple`. With `data` batch
    norm is measured again at every percentage.
    Raises `ConfigError` and `UnsupportedOp`.
    """
    limit = _limit(threshold, keep)
    _check_data(checkpoint, data)
    network, before = checkpoint.network, cost(checkpoint.network)
    example, groups = _example(network), channel_groups(network)
    values = importance(network.body, example, by)
    if keep is not None:
        widths = {name: groups[name].width(keep) for name in values}
    else:
        dead = {name: p > limit for name, p in dead_probability(network.body, example).items()}
        widths = {name: _alive(groups[name], dead[name]) for name in values}
        values = {name: ranks.masked_fill(dead[name], -1.0) for name, ranks in values.items()}
    pruned = reorder(network, {name: _descending(ranks) for name, ranks in values.items()})
    shrink(pruned, widths)
    result = _with_widths(checkpoint, pruned, widths)
    calibrated = _calibrate(result, data, result.info.recipe.batch_norm.rows)
    return Pruned(result, before, cost(pruned), calibrated)


def cost(network: Network) -> Cost:
    """What a network costs at full width."""
    groups = channel_groups(network)
    return Cost(
        {name: group.size for name, group in groups.items() if group.scalable},
        sum(parameter.numel() for parameter in network.parameters()),
        count_macs(network, 100),
    )


def _limit(threshold: float | None, keep: int | None) -> float:
    """The probability of being dead above which a channel goes, once both options are checked."""
    if threshold is not None and keep is not None:
        raise ConfigError("a threshold and a percentage to keep exclude each other; give one")
    if keep is not None and not 1 <= keep <= 100:
        raise ConfigError(f"{keep} % of the channels cannot be kept; use 1 to 100")
    limit = THRESHOLD if threshold is None else threshold
    if not 0 <= limit <= 1:
        raise ConfigError(f"threshold {limit} is no probability; use 0 to 1")
    return limit


def _alive(group: ChannelGroup, dead: Tensor) -> int:
    """How many channels of a group stay."""
    count = max(1, int((~dead).sum()))
    return min(group.size, math.ceil(count / group.multiple) * group.multiple)


def _with_widths(checkpoint: Checkpoint, network: Network, widths: Mapping[str, int]) -> Checkpoint:
    recipe = checkpoint.info.recipe
    narrower = msgspec.structs.replace(recipe.network, widths=dict(widths))
    recipe = msgspec.structs.replace(recipe, network=narrower)
    return Checkpoint(network, msgspec.structs.replace(checkpoint.info, recipe=recipe))


def _descending(values: Tensor) -> Tensor:
    """Channel numbers, the highest value first; equal ones keep their order."""
    return torch.argsort(values, descending=True, stable=True)


def _example(network: Network) -> Tensor:
    return torch.zeros(2, *network.input_shape)


def _check_data(checkpoint: Checkpoint, data: DataSet | None) -> None:
    if data is not None:
        check_fit(checkpoint.network, data.train)


def _calibrate(checkpoint: Checkpoint, data: DataSet | None, rows: Sequence[int]) -> bool:
    """Measure batch norm for `rows` percent as training does; tell whether nothing is left to."""
    network, recipe = checkpoint.network, checkpoint.info.recipe
    if data is not None:
        split, _ = split_validation(data.train, recipe.stopping.validation, recipe.seed)
        samples, device = recipe.batch_norm.samples, torch.device("cpu")
        recalibrate(network, lambda: calibration_batches(split, samples, device), rows)
        set_dp(network, 100)
    return data is not None or not norms(network)
