"""The examples that batch norm is measured on, during training and whenever channels change.

In: a split and how many of its examples to use. Out: batches of equal size. Refuses nothing.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tesla_embed.data import Split

_BATCH = 250
"""Examples at a time."""


def calibration_batches(split: Split, samples: int, device: torch.device) -> Iterator[Tensor]:
    """The first `samples` examples of `split`, `[B, *input shape]` at a time, on `device`."""
    count = min(samples, len(split))
    for part in np.array_split(np.arange(count), math.ceil(count / _BATCH)):
        yield torch.from_numpy(split.floats(part)).to(device)
