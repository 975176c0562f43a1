"""Optimisers and learning-rate schedules.

In: the optimiser's table of a recipe and a network. Out: a PyTorch optimiser, and the learning rate
of every epoch as a formula, so that a resumed run needs no scheduler's state.
"""

import math

import torch
from torch import nn

from tesla_embed.train.recipe import Optimizer


def make_optimizer(options: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a recipe; weight decay acts on weights, never on biases or batch norm."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if options.weight_decay == 0.0:
        groups = [{"params": parameters, "weight_decay": 0.0}]
    if options.method == "sgd":
        return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum)
    return torch.optim.Adam(groups, lr=options.learning_rate)


def learning_rate(options: Optimizer, epoch: int, epochs: int) -> float:
    """Learning rate in epoch number `epoch` (from 0) of a stage of at most `epochs`.

    `constant`: the recipe's. `cosine`: falls to zero over the stage as (1 + cos(π e / E)) / 2
    (Loshchilov and Hutter, "SGDR", ICLR 2017). `step`: times `step_factor` every `step_epochs`.
    """
    rate = options.learning_rate
    if options.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * min(epoch, epochs) / epochs)) / 2
    if options.schedule == "step":
        return float(rate * options.step_factor ** (epoch // options.step_epochs))
    return rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
