"""Random changes to training images that leave their meaning alone.

In: images `[B, H, W, C]` and which examples of which epoch they are. Out: images of the same shape.
What happens to an example follows from seed, epoch and the example's number alone, so neither the
order of batches, nor the number of processes, nor an interruption changes it.
Refuses, with `ConfigError`, examples that are no images.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError
from tesla_embed.train.recipe import Augmentation

_STREAM = 1
"""Sets these random numbers apart from those of the order of examples."""


@dataclass(frozen=True, slots=True, eq=False)
class Augmenter:
    """The changes of one epoch: `shifts` `[N, 2]` in pixels (down, right) and `flips` `[N]`."""

    shifts: npt.NDArray[np.int64]
    flips: npt.NDArray[np.bool_]

    def apply(
        self, images: npt.NDArray[np.float32], indices: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float32]:
        """Shift with zeros moving in, then mirror left to right; `indices` number the examples."""
        _, height, width, _ = images.shape
        pad = int(np.abs(self.shifts).max(initial=0))
        padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        rows = pad - self.shifts[indices, 0, None] + np.arange(height)
        columns = pad - self.shifts[indices, 1, None] + np.arange(width)
        columns = np.where(self.flips[indices, None], columns[:, ::-1], columns)
        batch = np.arange(len(images))[:, None, None]
        moved: npt.NDArray[np.float32] = padded[batch, rows[:, :, None], columns[:, None, :]]
        return moved


def make_augmenter(
    options: Augmentation, shape: tuple[int, ...], examples: int, seed: int, epoch: int
) -> Augmenter | None:
    """The changes of epoch number `epoch` to `examples` examples of `shape`; `None` for none.

    A shift by up to `crop` pixels either way is the random crop of a padded image.
    """
    if not options.crop and not options.flip:
        return None
    if len(shape) != 3:
        raise ConfigError(
            f"augmentation needs images (H, W, C), the data have {shape}; set augmentation.crop=0 "
            "and augmentation.flip=false"
        )
    rng = np.random.default_rng([seed, epoch, _STREAM])
    shifts = rng.integers(-options.crop, options.crop + 1, size=(examples, 2))
    flips = rng.random(examples) < (0.5 if options.flip else 0.0)
    return Augmenter(shifts, flips)
