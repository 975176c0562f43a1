"""ATP, the alternate training procedure: profiles learnt along with the weights (section 3.4).

In: a network whose profile is `trainable`. Out: the two groups of parameters, and steps that
alternate between them: weights, then profiles at half the learning rate, then the profiles are
clipped to stay non-negative and non-increasing. Goes with every algorithm that keeps one profile.
"""

import torch
from torch import Tensor, nn

from tesla_embed.nn.networks import Network
from tesla_embed.nn.profiles import clip_profile, trainable_profiles
from tesla_embed.train.algorithms.base import Algorithm, Stage

RATE = 0.5
"""Learning rate of the profiles, relative to that of the weights."""


def parameter_groups(network: nn.Module, rate: float) -> list[dict[str, object]]:
    """What an optimiser takes: weights at the learning rate `rate`, profiles at half of it."""
    profiles = trainable_profiles(network)
    known = {id(profile) for profile in profiles}
    weights = [value for value in network.parameters() if id(value) not in known]
    groups: list[dict[str, object]] = [{"params": weights, "lr": rate}]
    return [*groups, {"params": profiles, "lr": RATE * rate}] if profiles else groups


def update(
    algorithm: Algorithm,
    network: Network,
    optimizer: torch.optim.Optimizer,
    stage: Stage,
    batch: tuple[Tensor, Tensor],
    step: int,
) -> float:
    """Update the parameters from one batch, x `[B, *input_shape]` and y `[B]`; returns the loss.

    An ordinary step of the optimiser or, with trainable profiles, two: their gradients are taken
    one after the other, each at the values that the other's step left.
    """
    profiles = trainable_profiles(network)
    optimizer.zero_grad()
    loss = algorithm.backward(network, stage, *batch, step)
    if not profiles:
        optimizer.step()
        return loss
    _drop_gradients(profiles)
    optimizer.step()
    optimizer.zero_grad()
    algorithm.backward(network, stage, *batch, step)
    known = {id(profile) for profile in profiles}
    _drop_gradients([value for value in network.parameters() if id(value) not in known])
    optimizer.step()
    for profile in profiles:
        clip_profile(profile)
    return loss


def _drop_gradients(parameters: list[nn.Parameter]) -> None:
    """An optimiser leaves parameters without a gradient, and its memory of them, alone."""
    for parameter in parameters:
        parameter.grad = None
