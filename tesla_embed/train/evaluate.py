"""Accuracy and cost of a network at several DP percentages.

In: a network and labelled examples. Out: accuracies and true multiply-accumulates. Refuses, with
`ConfigError`, examples of another shape than the network's.

A network that reconstructs its input has no right answers. Its "accuracy" is the share of the
examples' variance that it explains, 1 - MSE / variance, at least 0: like an accuracy it is 1 at
best, needs no labels, and tells operating regions apart. `anomaly_auc` judges the use it is put to,
where labels say which examples are abnormal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tesla_embed.data import Split
from tesla_embed.errors import ConfigError
from tesla_embed.nn.copies import plain_at
from tesla_embed.nn.cost import count_macs
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import Network

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Measure:
    """Mean loss and accuracy (0 to 1) over a split.

    `correct` `[N]` says which examples were answered correctly; `None` for reconstruction.
    """

    loss: float
    accuracy: float
    correct: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """By DP percentage: accuracy (0 to 1), and multiply-accumulates of one inference.

    `correct` holds the correct answers `[N]` of networks that classify, and is empty for others.
    `full_macs` is the cost of the complete network, for comparison.
    """

    accuracy: dict[int, float]
    correct: dict[int, npt.NDArray[np.bool_]]
    macs: dict[int, int]
    full_macs: int

    @property
    def mean_accuracy(self) -> float:
        """Mean accuracy over the percentages."""
        return sum(self.accuracy.values()) / len(self.accuracy)


def measure(network: Network, split: Split, dp: int) -> Measure:
    """Run `network` over a split at `dp` percent. Raises `ConfigError` if the data do not fit."""
    check_fit(network, split)
    set_dp(network, dp)
    network.eval()
    loss, correct = 0.0, np.zeros(len(split), np.bool_)
    device = next(network.parameters()).device
    with torch.no_grad():
        for start in range(0, len(split), _BATCH):
            part = slice(start, start + _BATCH)
            x = torch.from_numpy(split.floats(part)).to(device)
            y = torch.tensor(split.y[part]).to(device)
            output = network(x)
            loss += network.loss(output, x, y).item() * len(y)
            if network.task == "classify":
                correct[part] = (output.argmax(1) == y).cpu().numpy()
    loss /= len(split)
    if network.task == "classify":
        return Measure(loss, float(correct.mean()), correct)
    return Measure(loss, max(0.0, 1.0 - loss / max(_variance(split), 1e-30)))


def check_fit(network: Network, split: Split) -> None:
    """Raise `ConfigError` unless the examples are what the network takes."""
    if split.x.shape[1:] != network.input_shape:
        raise ConfigError(
            f"the network takes examples of shape {network.input_shape}, the data have "
            f"{split.x.shape[1:]}; use the data set it was trained on"
        )
    if network.task == "classify" and split.y.max() >= network.classes:
        raise ConfigError(
            f"the network knows {network.classes} classes, the data have label {split.y.max()}; "
            "use the data set it was trained on"
        )


def evaluate(
    network: Network,
    split: Split,
    dps: Sequence[int],
    observer: Callable[[int], None] | None = None,
) -> Evaluation:
    """Accuracy and true multiply-accumulates of `network` at every one of `dps` (percent).

    `observer` is told how many of the percentages are done. Raises `ConfigError`.
    """
    check_fit(network, split)
    chosen = sorted(set(dps))
    accuracy, correct = {}, {}
    for done, dp in enumerate(chosen, 1):
        measured = measure(network, split, dp)
        accuracy[dp] = measured.accuracy
        if measured.correct is not None:
            correct[dp] = measured.correct
        if observer:
            observer(done)
    macs = {dp: count_macs(plain_at(network, dp), dp) for dp in {*chosen, 100}}
    return Evaluation(accuracy, correct, {dp: macs[dp] for dp in chosen}, macs[100])


def anomaly_auc(network: Network, split: Split, dp: int) -> float:
    """Area under the ROC curve of the reconstruction error, for labels 0 normal and 1 abnormal.

    The chance that an abnormal example has a larger error than a normal one, ties counting half
    (the Mann-Whitney statistic). Raises `ConfigError` when a label is missing.
    """
    check_fit(network, split)
    set_dp(network, dp)
    network.eval()
    device = next(network.parameters()).device
    errors = []
    with torch.no_grad():
        for start in range(0, len(split), _BATCH):
            x = torch.from_numpy(split.floats(slice(start, start + _BATCH))).to(device)
            errors.append((network(x) - x.flatten(1)).square().mean(1).cpu().numpy())
    return _auc(np.concatenate(errors), split.y)


def _auc(scores: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    normal, abnormal = np.sort(scores[labels == 0]), scores[labels == 1]
    if not len(normal) or not len(abnormal):
        raise ConfigError("an area under the curve needs examples with label 0 and with label 1")
    below = np.searchsorted(normal, abnormal, "left") + np.searchsorted(normal, abnormal, "right")
    return float(below.mean() / (2 * len(normal)))


def _variance(split: Split) -> float:
    """Mean over the elements of an example of their variance over the examples."""
    flat = split.floats().reshape(len(split), -1).astype(np.float64)
    return float(flat.var(axis=0).mean())
