"""ATP, the alternate training procedure: profiles learnt along with the weights (section 3.4).

In: a network whose profiles may be trainable, its optimiser and one batch's backward pass. Out: a
step that alternates between the two kinds of parameters: weights, then profiles, which are then
clipped to stay non-increasing. The paper leaves open how often to alternate and how fast profiles
learn; here every batch does both, and profiles learn at half the rate (`PROFILE_RATE`) and stay
non-negative. Goes with every algorithm that keeps one profile.
"""

from collections.abc import Callable

import torch
from torch import nn

from tesla_embed.nn.profiles import clip_profiles, trainable_profiles


def update(
    network: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], float]
) -> float:
    """Update the parameters from one batch; returns the loss.

    `backward` adds the batch's gradients to all parameters and returns its loss. An ordinary step
    of the optimiser or, with trainable profiles, two: their gradients are taken one after the
    other, each at the values that the other's step left.
    """
    profiles = trainable_profiles(network)
    optimizer.zero_grad()
    loss = backward()
    if not profiles:
        optimizer.step()
        return loss
    _drop_gradients(profiles)
    optimizer.step()
    optimizer.zero_grad()
    backward()
    known = {id(profile) for profile in profiles}
    _drop_gradients([value for value in network.parameters() if id(value) not in known])
    optimizer.step()
    clip_profiles(network)
    return loss


def _drop_gradients(parameters: list[nn.Parameter]) -> None:
    """An optimiser leaves parameters without a gradient, and its memory of them, alone."""
    for parameter in parameters:
        parameter.grad = None
