"""Accuracy and cost of a network at several DP percentages.

In: a network and labelled examples. Out: accuracies and true multiply-accumulates. Refuses, with
`ConfigError`, examples of another shape than the network's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from tesla_embed.data import Split
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import full_macs, region_macs
from tesla_embed.nn.export import to_model
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Measure:
    """Mean cross-entropy over a split, and which of its examples were answered correctly `[N]`."""

    loss: float
    correct: npt.NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """Share of correct answers, 0 to 1."""
        return float(self.correct.mean())


@dataclass(frozen=True, slots=True)
class Evaluation:
    """By DP percentage: correct answers `[N]`, and multiply-accumulates of one inference.

    `full_macs` is the cost of the complete network, for comparison.
    """

    correct: dict[int, npt.NDArray[np.bool_]]
    macs: dict[int, int]
    full_macs: int

    @property
    def accuracy(self) -> dict[int, float]:
        """Share of correct answers, 0 to 1."""
        return {dp: float(correct.mean()) for dp, correct in self.correct.items()}

    @property
    def mean_accuracy(self) -> float:
        """Mean accuracy over the percentages."""
        return sum(self.accuracy.values()) / len(self.correct)


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
    loss, correct = 0.0, np.zeros(len(split), np.bool_)
    with torch.no_grad():
        for start in range(0, len(split), _BATCH):
            part = slice(start, start + _BATCH)
            y = torch.tensor(split.y[part])
            logits = network(torch.from_numpy(split.floats(part)))
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct[part] = (logits.argmax(1) == y).numpy()
    return Measure(loss / len(split), correct)


def evaluate(
    network: Network,
    split: Split,
    dps: Sequence[int],
    observer: Callable[[int], None] | None = None,
) -> Evaluation:
    """Accuracy and true multiply-accumulates of `network` at every one of `dps` (percent).

    `observer` is told how many of the percentages are done. Raises `ConfigError`.
    """
    model = to_model(network, "network", dps)
    correct = {}
    for done, region in enumerate(model.regions, 1):
        correct[region.dp] = measure(network, split, region.dp).correct
        if observer:
            observer(done)
    macs = {region.dp: sum(region_macs(model.graph, region)) for region in model.regions}
    return Evaluation(correct, macs, full_macs(model.graph))
