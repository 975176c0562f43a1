"""Quantisation-aware training for all operating regions at once.

In: a float model, its quantised form, examples, and what the float network answers to them in every
region. Out: a quantised model with the same scales, whose weights and biases answer more alike. One
set of weights serves every region, so every step takes the gradients of several: the largest, the
smallest and random ones, as in universally slimmable training (Yu and Huang, "Universally Slimmable
Networks and Improved Training Techniques", ICCV 2019). The teacher of a region is the float network
in the same region, which needs no labels and keeps the regions' order of accuracy. Refuses, with
`QuantizationError`, too few examples and training that leaves the range of int32.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tesla_embed.errors import QuantizationError
from tesla_embed.ir.graph import Model
from tesla_embed.quant.options import QatOptions
from tesla_embed.quant.simulate import Simulation

Loss = Callable[[Tensor, Tensor], Tensor]
_HELD_BACK = 0.1
"""Share of the examples that decides which epoch was the best."""
_JUDGED = 256
"""Examples at a time when an epoch is judged."""


def fine_tune(
    plain: Model,
    model: Model,
    inputs: npt.NDArray[np.float32],
    answers: Mapping[int, npt.NDArray[np.float32]],
    loss: Loss,
    options: QatOptions,
    observer: Callable[[float], None] | None = None,
) -> Model:
    """Train the integers of `model`, made from `plain`, to answer as the float network does.

    `inputs` are `[N, *input shape]`, `answers[dp]` `[N, *output shape]` for every region, and
    `loss(outputs, answers)` is their mean distance. The result is the best epoch's on held-back
    examples, or `model` as it was if none was better. `observer` is told the share done. Raises
    `QuantizationError`.
    """
    if len(inputs) < 2:
        raise QuantizationError("training needs at least two examples; pass data that has them")
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        simulation = Simulation(plain, model)
        x = torch.from_numpy(np.ascontiguousarray(inputs))
        teacher = {dp: torch.from_numpy(np.ascontiguousarray(a)) for dp, a in answers.items()}
        _train(simulation, x, teacher, loss, options, observer or (lambda _share: None))
    finally:
        torch.set_num_threads(before)
    return simulation.integers()


def _train(
    simulation: Simulation,
    x: Tensor,
    teacher: Mapping[int, Tensor],
    loss: Loss,
    options: QatOptions,
    observer: Callable[[float], None],
) -> None:
    """Leave the parameters of the best epoch in `simulation`."""
    rng = np.random.default_rng(options.seed)
    places = torch.from_numpy(rng.permutation(len(x)))
    held, rest = places.tensor_split([max(1, int(len(x) * _HELD_BACK))])
    optimizer = torch.optim.Adam(simulation.parameters(), options.learning_rate)
    best, kept = _judge(simulation, x, held, teacher, loss), _copy(simulation)
    batches = math.ceil(len(rest) / options.batch)
    for epoch in range(options.epochs):
        order = rest[torch.from_numpy(rng.permutation(len(rest)))]
        for number, chosen in enumerate(torch.split(order, options.batch)):
            done = (epoch * batches + number) / (options.epochs * batches)
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * (1 + math.cos(math.pi * done)) / 2
            optimizer.zero_grad()
            for dp in _regions(sorted(teacher), options.random, rng):
                loss(simulation(x[chosen], dp), teacher[dp][chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            observer(done)
        score = _judge(simulation, x, held, teacher, loss)
        if score < best:
            best, kept = score, _copy(simulation)
    simulation.load_state_dict(kept)


def _regions(dps: Sequence[int], random: int, rng: np.random.Generator) -> list[int]:
    """The regions of one step, ascending."""
    between = dps[1:-1]
    drawn = rng.permutation(len(between))[:random].tolist()
    return sorted({dps[0], dps[-1], *(between[place] for place in drawn)})


def _copy(simulation: Simulation) -> dict[str, Tensor]:
    return copy.deepcopy(simulation.state_dict())


def _judge(
    simulation: Simulation, x: Tensor, held: Tensor, teacher: Mapping[int, Tensor], loss: Loss
) -> float:
    """Mean loss over the regions and the held-back examples."""
    total = 0.0
    with torch.no_grad():
        for dp, target in teacher.items():
            for part in torch.split(held, _JUDGED):
                total += float(loss(simulation(x[part], dp), target[part])) * len(part)
    return total / (len(held) * len(teacher))
