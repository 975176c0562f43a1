"""Accuracy and cost of a network at several DP percentages.

In: a network and labelled examples. Out: accuracies and true multiply-accumulates. Refuses, with
`ConfigError`, examples of another shape than the network's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tesla_embed.data import Split
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import full_macs, region_macs
from tesla_embed.nn.copies import plain_at
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Measure:
    """Mean cross-entropy and share of correct answers (0 to 1) over a split."""

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """By DP percentage: accuracy (0 to 1), and multiply-accumulates of one inference.

    `full_macs` is the cost of the complete network, for comparison.
    """

    accuracy: dict[int, float]
    macs: dict[int, int]
    full_macs: int

    @property
    def mean_accuracy(self) -> float:
        """Mean accuracy over the percentages."""
        return sum(self.accuracy.values()) / len(self.accuracy)


def measure(network: Network, split: Split, dp: int) -> Measure:
    """Run `network` over a split at `dp` percent. Raises `ConfigError` if the data do not fit."""
    if split.x.shape[1:] != network.input_shape:
        raise ConfigError(
            f"the network takes examples of shape {network.input_shape}, the data have "
            f"{split.x.shape[1:]}; use the data set it was trained on"
        )
    if split.y.max() >= network.classes:
        raise ConfigError(
            f"the network knows {network.classes} classes, the data have label {split.y.max()}; "
            "use the data set it was trained on"
        )
    set_dp(network, dp)
    network.eval()
    loss, correct = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(split), _BATCH):
            part = slice(start, start + _BATCH)
            y = torch.tensor(split.y[part])
            logits = network(torch.from_numpy(split.floats(part)))
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += int((logits.argmax(1) == y).sum())
    return Measure(loss / len(split), correct / len(split))


def evaluate(
    network: Network,
    split: Split,
    dps: Sequence[int],
    observer: Callable[[int], None] | None = None,
) -> Evaluation:
    """Accuracy and true multiply-accumulates of `network` at every one of `dps` (percent).

    `observer` is told how many of the percentages are done. Raises `ConfigError`.
    """
    accuracy, macs = {}, {}
    for done, dp in enumerate(sorted(set(dps)), 1):
        model = to_model(plain_at(network, dp), "network", (dp,))
        macs[dp] = sum(region_macs(model.graph, model.regions[0]))
        accuracy[dp] = measure(network, split, dp).accuracy
        if observer:
            observer(done)
    complete = to_model(plain_at(network, 100), "network", (100,))
    return Evaluation(accuracy, macs, full_macs(complete.graph))
