"""The examples that batch norm is measured on, during training and whenever channels change.

In: a split and how many of its examples to use. Out: batches of equal size. Refuses nothing.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tesla_embed.data import Split, spread

_BATCH = 250
"""Examples at a time."""


def calibration_batches(split: Split, samples: int, device: torch.device) -> Iterator[Tensor]:
    """`samples` examples of `split`, `[B, *input shape]` at a time, on `device`.

    Evenly spread, since the classes may stand one after another.
    """
    count = min(samples, len(split))
    chosen = spread(len(split), count)
    order = np.random.default_rng(0).permutation(chosen)
    for part in np.array_split(order, math.ceil(count / _BATCH)):
        yield torch.from_numpy(split.floats(part)).to(device)
