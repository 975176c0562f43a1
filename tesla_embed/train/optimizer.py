"""Optimisers and learning-rate schedules.

In: a recipe and a network. Out: a PyTorch optimiser, and the learning rate of every step as a
formula, so that a resumed run needs no scheduler's state.
"""

import math

import torch
from torch import nn

from tesla_embed.nn.profiles import trainable_profiles
from tesla_embed.train.recipe import Optimizer, Recipe

PROFILE_RATE = 0.5
"""Learning rate of trainable profiles, relative to that of the weights; the paper gives none."""


def make_optimizer(options: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a recipe.

    Weight decay acts on weights, never on biases, batch norm or profiles; profiles learn at
    `PROFILE_RATE` times the learning rate.
    """
    profiles = trainable_profiles(network)
    known = {id(profile) for profile in profiles}
    others = [value for value in network.parameters() if id(value) not in known]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
        {"params": profiles, "weight_decay": 0.0, "factor": PROFILE_RATE},
    ]
    groups = [group for group in groups if group["params"]]
    rate = options.learning_rate
    made: torch.optim.Optimizer
    if options.method == "sgd":
        made = torch.optim.SGD(groups, lr=rate, momentum=options.momentum, fused=True)
    else:
        made = torch.optim.Adam(groups, lr=rate, fused=True)
    set_learning_rate(made, rate)
    return made


def learning_rate(recipe: Recipe, epochs: int | None, epoch: float) -> float:
    """Learning rate after `epoch` epochs, whole ones and parts, of a stage.

    In a stage of a given number of `epochs` it falls from `budget.peak` to zero as
    (1 + cos(π e / E)) / 2 (Loshchilov and Hutter, "SGDR", ICLR 2017). Otherwise the optimiser's
    schedule decides. `constant`: the recipe's rate; `cosine`: the same fall within
    `stopping.max_epochs`; `step`: times `step_factor` every `step_epochs`.
    """
    options = recipe.optimizer
    if epochs is not None:
        return recipe.budget.peak * _cosine(epoch / epochs)
    if options.schedule == "cosine":
        return options.learning_rate * _cosine(epoch / recipe.stopping.max_epochs)
    if options.schedule == "step":
        passed = math.floor(epoch) // options.step_epochs
        return float(options.learning_rate * options.step_factor**passed)
    return options.learning_rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def _cosine(share: float) -> float:
    return (1 + math.cos(math.pi * min(share, 1.0))) / 2
